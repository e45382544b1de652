#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 23: what goes wrong inside a guest while it shrinks, and what stands in its channel from before.

BALLAST_CASES="name name" runs only these cases.
"""

import functools
import os
import re
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from ballast import FINAL, REFUSED, Ballast  # noqa: E402
from testbed import paths, qcow2  # noqa: E402
from testbed.guest import AGENT_PORT, Guest, VirtioMem  # noqa: E402
from testbed.neighbour import Neighbour  # noqa: E402
from testbed.story import Cases, StoryFailed, booted_host, check, check_equal, main, story, wait_for  # noqa: E402

MIB = 1 << 20
BASE_MIB, PLUGGED_MIB = 384, 384
POOL = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
UNPLUG_ONLINE = "/sys/module/virtio_mem/parameters/unplug_online"
HOOK_LOG = "/run/hook.log"
SAVED = "/run/saved"
# Snapshots of a running guest are kept in a disk of it.
DISK = "/run/testbed/snapshots.qcow2"
DISK_XML = f"""<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='unsafe'/><source file='{DISK}'/>
<target dev='vda' bus='virtio'/></disk>"""
OLD_EPOCH = 4242
# How often a case is tried whose agent was too quick.
TURNS = 4
# Writes its standard input to a unix socket, as a host that is connected to a guest's port.
SEND = """import socket, sys
port = socket.socket(socket.AF_UNIX)
port.connect(sys.argv[1])
port.sendall(sys.stdin.buffer.read())
port.close()
"""


def golden(*names):
    """Whole frames of a session that is long over."""
    found = b""
    for name in names:
        with open(os.path.join(paths.PROJECT, "tests/data/protocol", name + ".hex"), encoding="ascii") as f:
            found += bytes.fromhex("".join(line for line in f if not line.startswith("#")))
    return found


def frame(kind, request_id, payload):
    """A frame of an old session, as protocol/wire.md has it."""
    head = struct.pack("<4sHHHHIQI", b"\xb5BLS", 0x0101, kind, 0, 0, len(payload), OLD_EPOCH, request_id)
    crc = 0xffffffff
    for byte in head + payload:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return head + struct.pack("<I", crc ^ 0xffffffff) + payload


def old_session():
    """All that a daemon says until it has asked for the guest's free huge pages, and half of that once more."""
    hello = struct.pack("<HHQQIH", 0x0100, 0x0101, 77, 0, 5000, 0)
    prepare = struct.pack("<QIIQIIHHB", 4711, 60000, 1, 0, 30000, 0, 0, 16, 0)
    asked = frame(0x0022, 2, prepare)
    return frame(0x0001, 1, hello) + frame(0x0003, 0, struct.pack("<Q", 1)) + asked + asked[:-20]


def oom_kills(guest):
    """How many processes the guest's kernel has killed for want of memory."""
    return int(re.search(r"^oom_kill (\d+)$", guest.read("/proc/vmstat"), re.M)[1])


def in_words(operation):
    return (f"{operation['state']}, {sorted({r['code'] for r in operation['remainder']})}, "
            f"{' '.join(s['kind'] for s in operation['steps'])}")


class NotMet(StoryFailed):
    """The shrink ended before the agent could be killed in it."""


class Scene:
    def __init__(self, host, tell):
        self.host, self.tell = host, tell
        # Filling with zeros what is allocated takes longer under emulation than what is looked at here.
        self.guest = Guest(host, "g1", BASE_MIB, nodes="1", virtio_mem=[VirtioMem(PLUGGED_MIB)],
                           kernel_arguments="init_on_alloc=0")
        self.guest.start()
        self.ballast = Ballast(host, {"limits": {"reserve": "256MiB"}})
        self.ballast.start()
        self.ballast.wait_agent("g1")

    def full(self):
        self.ballast.ctl("resize", "g1", f"{BASE_MIB + PLUGGED_MIB}MiB", "--timeout", 90, check=False)
        wait_for(lambda: self.guest.online_movable_bytes() == PLUGGED_MIB * MIB, 60, "the memory to be online in the guest", 1)

    def shrink(self, timeout, *words):
        """Begins one; its id."""
        return self.ballast.ctl("resize", "g1", f"{BASE_MIB}MiB", "--timeout", timeout, "--detach", *words).out.strip()

    def sizes(self):
        """(requested, current) of the device in MiB: libvirt's word."""
        device = self.guest.virtio_mem_sizes()[0]
        return device["requested"] // MIB, device["current"] // MIB

    def state(self):
        """What a shrink changes in the guest, as its kernel says: the pool, the driver's parameter, offline blocks."""
        return (int(self.guest.read(POOL)), self.guest.read(UNPLUG_ONLINE).strip(),
                sorted(number for number, (state, _) in self.guest.blocks().items() if state != "online"))

    def is_put_back(self, pool, timeout=60):
        """The pool has so many pages, the driver may take online blocks, and no block is offline."""
        seen = []

        def is_so():
            seen[:] = [self.state()]
            return seen == [(pool, "Y", [])]
        try:
            wait_for(is_so, timeout, "the guest to be as before", 1)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: it has {seen[0]}, should have a pool of {pool}") from None

    def ended(self, identity):
        """The operation, once it has ended in a state with a reason."""
        operation = self.ballast.wait_operation(identity, 150)
        check(operation["state"] == "succeeded" or operation["remainder"], f"a reason for what stayed: {in_words(operation)}")
        return operation

    def agent_is_told(self, configuration, hooks=()):
        before = self.guest.read("/run/agent.pid")
        self.guest.agent_is_told(configuration, hooks)
        wait_for(lambda: self.guest.read("/run/agent.pid") != before, 30, "the agent to begin anew", 0.5)
        wait_for(lambda: ("hooks" in self.ballast.guest("g1")["agent"]["features"]) == ("hooks = yes" in configuration),
                 60, "the host to hear of it", 0.5)

    def clear(self):
        """Nothing of a case is left to the next one, also where it failed."""
        if not self.ballast.is_up():
            self.ballast.start()
        self.guest.run(f"killall kill_at; kill -CONT $(cat /run/agent.pid); rm -f /run/no-agent /run/idle/file {HOOK_LOG}; "
                       "pattern ask held quit", check=False)
        self.guest.hugepages(0)
        self.ballast.wait_agent("g1")
        if "hooks" in self.ballast.guest("g1")["agent"]["features"]:
            self.agent_is_told([])

    def killed_in(self, word, *words, count=1, timeout=40):
        """The agent is killed while it writes such files in a shrink, and stays away until that has ended."""
        killer = self.guest.spawn(["kill_at", word, str(count)])
        identity = self.shrink(timeout, *words)
        wait_for(lambda: not killer.running or self.ballast.operation(identity)["state"] in FINAL, 2 * timeout,
                 "the agent to be killed, or the shrink to end", 1)
        if killer.running:
            raise NotMet(f"the agent is met in it: {in_words(self.ballast.operation(identity))}")
        result = killer.wait()
        check_equal(result.rc, 0, f"the agent is killed: {result}")
        left = self.state()
        operation = self.ended(identity)
        requested, current = self.sizes()
        check_equal(requested, current, "what is requested is what there is")
        check_equal(operation["state"] == "succeeded", current == 0, f"done is what libvirt says: {in_words(operation)}")
        self.tell(f"killed at {result.out.strip()}, which left {left}: {in_words(operation)}")
        return left

    def agent_comes_back(self):
        self.guest.run("rm /run/no-agent")
        self.ballast.wait_agent("g1")


def killed_at_free_huge_pages(scene):
    """In the middle of taking free pages from a pool: they are given back."""
    scene.full()
    check_equal(scene.guest.hugepages(250), 250, "huge pages in the guest")
    pool, _, _ = scene.killed_in("nr_hugepages")
    check(pool < 250, f"some pages had been taken: {pool}")
    scene.agent_comes_back()
    scene.is_put_back(250)


def killed_at_make_room(scene):
    """While its pool is larger, so that huge pages in use find room outside: what the pool has more goes again."""
    guest = scene.guest
    scene.full()
    check_equal(guest.hugepages(100), 100, "huge pages in the guest")
    # All of them, so that none is free and the pool is written for room alone.
    guest.pattern_start(200, name="held", hugetlb=True)
    scene.killed_in("nr_hugepages", timeout=60)
    scene.agent_comes_back()
    scene.is_put_back(100)
    check_equal(guest.pattern_rounds(1, "held")["errors"], 0, "pattern errors in huge pages")


def killed_at_a_hook(scene):
    """In the middle of the guest's own hook: it is told afterwards that all is as before."""
    scene.full()
    scene.agent_is_told(["hooks = yes", "hugepage_floor_2MiB = 250"],
                        [("10-application", f"echo $BALLAST_HOOK $BALLAST_OUTCOME >>{HOOK_LOG}\n"
                                            "[ $1 = after ] && exit 0\n"
                                            "touch /run/no-agent\n"
                                            "kill -9 $(cat /run/agent.pid)\n"
                                            "sleep 1")])
    scene.guest.hugepages(230)
    operation = scene.ended(scene.shrink(40))
    check_equal(scene.guest.read(HOOK_LOG), "before\n", "what the hook was told")
    scene.agent_comes_back()
    wait_for(lambda: scene.guest.read(HOOK_LOG) == "before\nafter undone\n", 30, "the hook to be told of the end", 1)
    scene.is_put_back(230)
    scene.tell(f"killed in a hook: {in_words(operation)}")


def killed_at_offlining(scene):
    """With one block offline and the next one under way: they come online again, and the driver may take online ones."""
    scene.full()
    _, unplug_online, offline = scene.killed_in("/state", "--budget", "20%", count=2)
    check(offline, "a block was offline")
    check_equal(unplug_online, "N", "what the driver may take")
    scene.agent_comes_back()
    scene.is_put_back(0)


def killed_at_offlining_and_back(scene):
    """The same, and the next agent is there at once: the shrink goes on with it."""
    scene.full()
    killer = scene.guest.spawn("kill_at /state 2 && rm /run/no-agent")
    identity = scene.shrink(150, "--budget", "20%")
    check_equal(killer.wait(60).rc, 0, "the agent is met in it")
    operation = scene.ballast.wait_operation(identity, 200)
    scene.tell(f"killed at its second block, and back: {in_words(operation)}")
    check_equal(operation["state"], "succeeded", f"the shrink with the next agent: {operation['remainder']}")
    check_equal(scene.sizes(), (0, 0), "what is left of the device")
    scene.is_put_back(0)


def killed_at_compaction(scene):
    """It changes nothing that could be put back; the shrink ends with a reason."""
    scene.full()
    scene.guest.pattern_start(60, name="held", once=True, held=64)
    scene.killed_in("compact_memory", timeout=60)
    scene.agent_comes_back()
    scene.is_put_back(0)


def killed_at_reclaim(scene):
    """In the middle of reclaim: what was written is still there."""
    guest = scene.guest
    scene.full()
    guest.run("grep -q zram /proc/swaps || add_swap 512M; mkdir -p /run/idle; mount -t tmpfs -o size=90% tmpfs /run/idle")
    guest.run("dd if=/dev/zero of=/run/idle/file bs=1M count=330", timeout=120)
    scene.killed_in("memory.reclaim", timeout=60)
    scene.agent_comes_back()
    scene.is_put_back(0)
    check_equal(guest.run("wc -c </run/idle/file", timeout=120).out.strip(), str(330 * MIB), "what was written")


def block_goes_offline(scene, identity):
    """Waits for the first one of a shrink that takes its time; the guest's state then."""
    wait_for(lambda: scene.state()[2] or scene.ballast.operation(identity)["state"] in FINAL, 60, "a block to be offline", 0.5)
    state = scene.state()
    check(state[2], f"a block is offline: {in_words(scene.ballast.operation(identity))}")
    return state


def agent_stopped(scene):
    """It says nothing any more: the shrink ends in its time, with a reason, and what it held is put back when it goes on."""
    scene.full()
    identity = scene.shrink(40, "--budget", "5%")
    before = block_goes_offline(scene, identity)
    scene.guest.run("kill -STOP $(cat /run/agent.pid)")
    try:
        operation = scene.ended(identity)
        requested, current = scene.sizes()
        check_equal(requested, current, "what is requested is what there is")
        check_equal(operation["state"] == "succeeded", current == 0, f"done is what libvirt says: {in_words(operation)}")
        scene.tell(f"stopped with {before}: {in_words(operation)}; {current} MiB stay plugged")
    finally:
        scene.guest.run("kill -CONT $(cat /run/agent.pid)")
    scene.ballast.wait_agent("g1")
    scene.is_put_back(0, 120)


def agent_silent_while_short(scene):
    """It says nothing any more, which nobody has noticed yet, and the guest has less than it should give: none is taken."""
    guest = scene.guest
    scene.full()
    guest.pattern_start(480, name="held", once=True, timeout=240)
    before = oom_kills(guest)
    guest.run("kill -STOP $(cat /run/agent.pid)")
    try:
        operation = scene.ended(scene.shrink(40))
        scene.tell(f"silent, 480 MiB of {BASE_MIB + PLUGGED_MIB} in use: {in_words(operation)}; {scene.sizes()[1]} MiB stay plugged, "
                   f"{oom_kills(guest) - before} processes killed")
        guest.run("dd if=/dev/zero of=/dev/null bs=8M count=4")
        check_equal(oom_kills(guest) - before, 0, "how often the guest's OOM killer was at work")
        check_equal({r["code"] for r in operation["remainder"]}, {"agent_lost"},
                    "why a guest of which nothing is known just now is not shrunk")
        check_equal(guest.pattern_status("held")["errors"], 0, "pattern errors")
    finally:
        guest.run("kill -CONT $(cat /run/agent.pid)")
    scene.ballast.wait_agent("g1")
    scene.is_put_back(0)


def daemon_killed_under_a_lease(scene):
    """And does not come back: the guest puts everything back by itself when the lease is over."""
    scene.full()
    identity = scene.shrink(30, "--budget", "5%")
    before = block_goes_offline(scene, identity)
    scene.ballast.kill()
    # The driver takes what is offline, if anything is requested: that is libvirt's, and stands.
    scene.is_put_back(0, 150)
    scene.ballast.start()
    scene.ballast.wait_agent("g1")
    operation = scene.ended(identity)
    requested, current = scene.sizes()
    check_equal(requested, current, "what is requested is what there is")
    scene.is_put_back(0)
    scene.tell(f"killed with {before}: the guest put it back by itself; then {in_words(operation)}; {current} MiB stay plugged")


def guest_is_reset(scene):
    """While blocks are offline: none stays so, what is said is libvirt's word too, and nothing leaves hours later."""
    scene.full()
    # It leaves the guest alone for most of its time.
    identity = scene.shrink(90, "--budget", "5%")
    wait_for(lambda: scene.guest.run("grep -l offline /sys/devices/system/memory/memory*/state", check=False).rc == 0, 60,
             "a block to be offline")
    before = scene.state()
    scene.guest.reboot()
    scene.ballast.wait_agent("g1")
    operation = scene.ended(identity)
    scene.tell(f"reset with {before}: {in_words(operation)}; requested and plugged are {scene.sizes()} MiB")
    requested, current = scene.sizes()
    check_equal(requested, current, "what is requested is what there is")
    check_equal(operation["state"] == "succeeded", current == 0, f"done is what libvirt says: {in_words(operation)}")
    scene.is_put_back(0)


def guest_short_of_memory(scene):
    """More is in use than would stay: it keeps what it needs, and nothing in it is killed, then and afterwards."""
    guest = scene.guest
    scene.full()
    guest.pattern_start(480, name="held", once=True, timeout=240)
    before = oom_kills(guest)
    operation = scene.ended(scene.shrink(60))
    scene.tell(f"480 MiB of {BASE_MIB + PLUGGED_MIB} in use: {in_words(operation)}; {scene.sizes()[1]} MiB stay plugged, "
               f"{guest.meminfo('MemAvailable') // MIB} MiB are available, {oom_kills(guest) - before} processes killed")
    # Any program of the guest would do: it needs some memory of its own.
    guest.run("dd if=/dev/zero of=/dev/null bs=8M count=4")
    check_equal(oom_kills(guest) - before, 0, "how often its OOM killer was at work")
    check_equal(operation["state"], "incomplete", "a shrink below what is in use")
    check_equal(guest.pattern_status("held")["errors"], 0, "pattern errors")
    scene.is_put_back(0)


def bytes_to_the_host(scene):
    """Noise and whole frames that nobody asked for stand in the port when a new daemon comes: the session is behind them."""
    guest = scene.guest
    scene.ballast.kill()
    guest.run("touch /run/no-agent; pid=$(cat /run/agent.pid); kill $pid; while [ -e /proc/$pid ]; do sleep 0.2; done")
    guest.run("cat >/run/stale", stdin=golden("0002_hello_reply", "0025_evacuate_reply", "0060_result") + os.urandom(96 << 10) +
              golden("0011_report_reply")[:-20])
    writer = guest.spawn(f"cat /run/stale >/dev/virtio-ports/{AGENT_PORT} && rm /run/no-agent")
    scene.ballast.start()
    check_equal(writer.wait(60).rc, 0, "all of it goes into the port")
    scene.ballast.wait_agent("g1")
    scene.full()
    scene.tell("96 KiB of noise, three old replies and half of one in the port before the agent: ready, and a grow works")


def bytes_to_the_guest(scene):
    """An old HELLO with its request, and half of another, stand in the port when a new daemon comes: nothing is done."""
    guest = scene.guest
    scene.full()
    guest.hugepages(100)
    scene.ballast.kill()
    guest.run("kill -STOP $(cat /run/agent.pid)")
    scene.host.run(["python3", "-c", SEND, guest.channel_path()], stdin=old_session())
    scene.ballast.start()
    guest.run("kill -CONT $(cat /run/agent.pid)")
    scene.ballast.wait_agent("g1")
    time.sleep(3)
    check_equal(scene.state(), (100, "Y", []), "the pool, the driver's parameter, offline blocks")
    check_equal(guest.run("grep -c ^lease /run/ballast-agent/leases", check=False).out.strip() or "0", "0", "leases")
    scene.tell("a whole old session in the port before ballastd: ready, and nothing was done of it")


def no_controller_for_a_channel(scene):
    """A guest that runs without a virtio-serial controller: only a restart helps, which is said."""
    bare = Guest(scene.host, "bare", 128, nodes="2", agent=False)
    xml = re.sub(r"<channel.*?</channel>", "", bare.xml(), flags=re.S)
    scene.host.run(["virsh", "-q", "create", "/dev/stdin"], stdin=xml)
    try:
        controllers = bare.live_xml().findall("devices/controller[@type='virtio-serial']")
        check_equal(controllers, [], "virtio-serial controllers of the guest")
        wait_for(lambda: any(g["name"] == "bare" for g in scene.ballast.get("/v1/guests?fresh=true")["items"]), 60,
                 "the guest to be seen", 1)
        refused = scene.ballast.ctl("attach-agent", "bare", check=False)
        check_equal(refused.rc, REFUSED, f"attach-agent: {refused}")
        check("restart" in refused.err, f"the reason: {refused.err}")
        status, problem = scene.ballast.curl("/v1/guests/bare/agent", "POST")
        check_equal((status, problem["code"]), (422, "needs_restart"), f"the answer: {problem}")
        scene.tell(f"without a controller: {refused.err.strip()}")
    finally:
        scene.host.virsh("destroy", "bare")
        scene.host.guests.remove(bare)


def sizes_work(scene, ballast):
    """With the agent that is there now: a shrink, and growing again."""
    for wanted in (0, PLUGGED_MIB):
        done = ballast.ctl_json("resize", "g1", f"{BASE_MIB + wanted}MiB", "--timeout", 120)
        check_equal((done["state"], scene.sizes()), ("succeeded", (wanted, wanted)), f"to {wanted} MiB of the device: {in_words(done)}")


def saved_under_a_lease(scene):
    """virsh saves it to a file while blocks are offline for a shrink, and it goes on from there: its agent comes back."""
    guest = scene.guest
    scene.full()
    # One block is offline, and the guest is left alone until it is saved.
    identity = scene.shrink(120, "--budget", "1%")
    before, boot_id = block_goes_offline(scene, identity), guest.booted_as
    check_equal(before[1], "N", "what the driver may take")
    scene.host.virsh("save", "g1", SAVED, timeout=180)
    operation = scene.ended(identity)
    check("guest_gone" in {r["code"] for r in operation["remainder"]}, f"what is said of it: {in_words(operation)}")
    scene.host.virsh("restore", SAVED, timeout=180)
    scene.host.run(["rm", SAVED])
    guest.wait_boot()
    check_equal(guest.booted_as, boot_id, "the guest goes on, and has not booted anew")
    scene.tell(f"saved with {before}: {in_words(operation)}; restored with {scene.state()}, {scene.sizes()} MiB")
    check_equal(scene.sizes(), (PLUGGED_MIB, PLUGGED_MIB), "size of the device")
    scene.ballast.wait_agent("g1")
    # What was changed for the shrink is put back when its lease is over.
    scene.is_put_back(0, 150)
    sizes_work(scene, scene.ballast)
    scene.tell("its blocks are online again; a shrink and growing work")


class Snapshot:
    """Of the running guest, in a disk that it has until the end of the block."""

    def __init__(self, scene):
        self.scene, self.host, self.guest = scene, scene.host, scene.guest
        self.state = self.sizes = None

    def __enter__(self):
        self.host.run(f"cat >{DISK}", stdin=qcow2.empty(64 * MIB))
        self.host.run(["virsh", "-q", "attach-device", "g1", "/dev/stdin", "--live"], stdin=DISK_XML)
        return self

    def __exit__(self, *_):
        self.host.virsh("snapshot-delete", "g1", "before", check=False)
        self.host.virsh("detach-disk", "g1", "vda", "--live")
        wait_for(lambda: self.guest.live_xml().find("devices/disk") is None, 60, "the disk to be gone")
        self.host.run(["rm", DISK])

    def take(self):
        self.state, self.sizes = self.scene.state(), self.scene.sizes()
        began = time.monotonic()
        self.host.virsh("snapshot-create-as", "g1", "before", timeout=240)
        self.scene.tell(f"a snapshot with {self.state}, {self.sizes} MiB, in {time.monotonic() - began:.0f} s")

    def go_back(self):
        """The guest goes on from there, and its agent is ready again."""
        boot_id = self.guest.booted_as
        self.host.virsh("snapshot-revert", "g1", "before", timeout=240)
        self.guest.wait_boot()
        check_equal(self.guest.booted_as, boot_id, "the guest goes on, and has not booted anew")
        self.scene.tell(f"gone back: {self.scene.state()}, {self.scene.sizes()} MiB")
        self.scene.ballast.wait_agent("g1")

    def stands(self):
        check_equal(self.scene.sizes(), self.sizes, "size of the device, as in the snapshot")


def back_to_a_snapshot(scene):
    """In the middle of a shrink, by virsh, to how it was before that: as it was then it stays, and why is said of the shrink."""
    scene.full()
    check_equal(scene.guest.hugepages(100), 100, "huge pages in the guest")
    with Snapshot(scene) as snapshot:
        snapshot.take()
        identity = scene.shrink(120, "--budget", "1%")
        before = block_goes_offline(scene, identity)
        snapshot.go_back()
        operation = scene.ended(identity)
        scene.tell(f"from {before} to a snapshot: {in_words(operation)}")
        check("guest_gone" in {r["code"] for r in operation["remainder"]}, f"what is said of it: {in_words(operation)}")
        snapshot.stands()
        scene.is_put_back(100)
        sizes_work(scene, scene.ballast)
        scene.is_put_back(100)


def back_under_a_lease(scene):
    """To a snapshot of the middle of a shrink that has ended since: the guest puts back what was changed for that by itself."""
    scene.full()
    with Snapshot(scene) as snapshot:
        identity = scene.shrink(90, "--budget", "1%")
        block_goes_offline(scene, identity)
        snapshot.take()
        check_equal(snapshot.state[1], "N", "what the driver may take")
        operation = scene.ended(identity)
        scene.is_put_back(0)
        scene.tell(f"the shrink: {in_words(operation)}, {scene.sizes()} MiB")
        snapshot.go_back()
        check_equal(scene.ballast.operation(identity)["state"], operation["state"], "what is said of the shrink")
        scene.is_put_back(0, 150)
        snapshot.stands()
        sizes_work(scene, scene.ballast)


def migrated_under_a_lease(scene):
    """It live-migrates while blocks are offline for a shrink. The daemon there has its agent, and shrinks and grows it."""
    guest, neighbour = scene.guest, Neighbour(scene.host)
    scene.full()
    there = Ballast(scene.host, {"limits": {"reserve": "256MiB"}}, neighbour=neighbour)
    neighbour.ready()
    identity = scene.shrink(120, "--budget", "5%")
    before = block_goes_offline(scene, identity)
    migration = neighbour.migration(guest)
    check_equal(migration.wait(180).rc, 0, f"virsh migrate: {migration.err}")
    here = scene.ended(identity)
    check("guest_gone" in {r["code"] for r in here["remainder"]}, f"what is said here: {in_words(here)}")
    neighbour.take_over(guest)
    scene.tell(f"migrated with {before}: here {in_words(here)}; there {scene.sizes()} MiB, {scene.state()}")
    there.start()
    there.wait_agent("g1")
    # What the daemon here had the guest change is put back when its lease is over.
    scene.is_put_back(0, 150)
    sizes_work(scene, there)
    there.stop()


def met(case):
    """The case, again where its agent was too quick to be killed in the middle: it is only looked at now and then."""
    @functools.wraps(case)
    def in_turns(scene):
        for turn in range(TURNS):
            try:
                return case(scene)
            except NotMet as missed:
                if turn == TURNS - 1:
                    raise
                scene.tell(f"{case.__name__}, once more: {missed}")
                scene.clear()
    return in_turns


CASES = (killed_at_free_huge_pages, killed_at_make_room, killed_at_a_hook, killed_at_offlining, killed_at_offlining_and_back,
         killed_at_compaction, killed_at_reclaim, agent_stopped, agent_silent_while_short, daemon_killed_under_a_lease,
         guest_is_reset, saved_under_a_lease, back_to_a_snapshot, back_under_a_lease, guest_short_of_memory, bytes_to_the_host, bytes_to_the_guest, no_controller_for_a_channel)
# The guest is on another host afterwards.
LAST = migrated_under_a_lease


@story(23, "agents killed in a shrink, resets, memory that runs short, bytes from before: nothing is left in a wrong state",
       limit_s=2400)
def guest_faults(tell):
    wanted = os.environ.get("BALLAST_CASES", "").split()
    with booted_host() as host:
        scene, cases = Scene(host, tell), Cases(tell)
        for case in (*CASES, LAST):
            if wanted and case.__name__ not in wanted:
                continue
            began = time.monotonic()
            cases.run(met(case), scene)
            if case is not LAST:
                scene.clear()
            tell(f"  ({case.__name__}: {time.monotonic() - began:.0f} s)")
        cases.end()


if __name__ == "__main__":
    main()
