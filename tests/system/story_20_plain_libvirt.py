#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 20: sizes that libvirt alone is asked for, and what happens around a size that is being watched.

BALLAST_CASES="name name" runs only these cases.
"""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from ballast import FINAL, Ballast  # noqa: E402
from testbed.guest import Guest, VirtioMem  # noqa: E402
from testbed.neighbour import Neighbour  # noqa: E402
from testbed.story import ALL_CASES, Cases, booted_host, check, check_at_most, check_equal, main, story, wait_for  # noqa: E402

MIB = 1 << 20
UNPLUG_ONLINE = "/sys/module/virtio_mem/parameters/unplug_online"


class Scene:
    def __init__(self, host, guest, ballast, tell):
        self.host, self.guest, self.ballast, self.tell = host, guest, ballast, tell

    def sizes(self):
        """(requested, current) of the device in MiB: libvirt's word."""
        device = self.guest.virtio_mem_sizes()[0]
        return device["requested"] // MIB, device["current"] // MIB

    def full(self):
        """1 GiB plugged, no pool in the guest, and nobody at work."""
        self.guest.hugepages(0)
        wait_for(lambda: all(o["state"] in FINAL for o in self.operations()), 150, "operations to end")
        self.ballast.ctl("resize", "g1", "1408MiB", "--timeout", "60")
        check_equal(self.sizes(), (1024, 1024), "size of the device at the start")
        self.seen = {o["id"] for o in self.operations()}

    def operations(self):
        return self.ballast.get("/v1/operations")["items"]

    def helps(self):
        """Operations that libvirt's request has begun since the case began, newest first."""
        return [o for o in self.operations() if o["actor"] == "libvirt" and o["id"] not in self.seen]

    def helped(self, timeout=90):
        """The newest help, once there is one."""
        seen = []

        def help_or_size():
            seen.append(self.sizes()[1])
            return next(iter(self.helps()), None)
        try:
            return wait_for(help_or_size, timeout, "the request to be helped", 2)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; requested and current are {self.sizes()}, current was {seen}, the agent is "
                               f"{self.ballast.guest('g1')['agent']}, ballastd says {self.ballast.log()[-600:]!r}") from None

    def obstacle(self):
        """Huge pages in use, more than have room anywhere else in the guest."""
        # What has just been onlined is not all free at once.
        wait_for(lambda: self.guest.hugepages(260) >= 190, 60, "huge pages in g1", 1)
        self.guest.pattern_start(360, name="huge", hugetlb=True, pace_us=2000)

    def obstacle_goes(self):
        check_equal(self.guest.pattern_stop("huge")["errors"], 0, "pattern errors in the huge pages")
        # A pool that is made smaller while the driver migrates one of its pages counts the page that is only there for the
        # migration as surplus, for ever, and never grows again (mm/hugetlb.c of 6.1, set_max_huge_pages).
        wait_for(self.none_in_use, 30, "the last huge page to be free", 0.2)
        self.guest.hugepages(0)

    def none_in_use(self):
        pool = dict(line.split()[:2] for line in self.guest.read("/proc/meminfo").splitlines() if line.startswith("HugePages_"))
        return pool["HugePages_Free:"] == pool["HugePages_Total:"]

    def at_work(self, identity):
        """The operation has asked for its size and is still at it."""
        def asked():
            operation = self.ballast.operation(identity)
            check(operation["state"] not in FINAL, f"{identity} is at work: {operation['state']} {operation['remainder']}")
            return any(s["kind"] in ("request", "kick") for s in operation["steps"])
        wait_for(asked, 40, "the size to be asked for")


def past_free_huge_pages(scene):
    """virsh alone, past a pool of free huge pages: where the driver alone stops for minutes, it is done."""
    scene.full()
    pages = scene.guest.hugepages(400)
    check(pages >= 350, f"free huge pages in the guest: {pages}")
    began = time.monotonic()
    check(scene.guest.resize(0, timeout=50), f"all of it leaves: {scene.sizes()}, {scene.helps()}")
    seconds = time.monotonic() - began
    operation = wait_for(lambda: next((o for o in scene.helps() if o["state"] in FINAL), None), 30, "the help to end")
    climbed = {rung["rung"]: rung["gained_bytes"] // MIB for rung in operation["result"]["climbed"]}
    check_equal((operation["state"], len(scene.helps())), ("succeeded", 1), "the help")
    check(climbed.get("free huge pages"), f"the rungs are named: {climbed}")
    check_equal(scene.sizes(), (0, 0), "what was requested stands")
    scene.tell(f"virsh shrank g1 by 1 GiB past {pages} free huge pages in {seconds:.0f} s, with help: {climbed}")


def another_size_by_virsh(scene):
    """While one request is being helped another comes: that one stands, and is helped in its turn."""
    scene.full()
    scene.obstacle()
    scene.guest.resize(0, wait=False)
    first = scene.helped()
    scene.at_work(first["id"])
    stuck = scene.sizes()[1]
    scene.guest.resize(768, wait=False)
    ended = scene.ballast.wait_operation(first["id"], 40)
    check_equal({r["code"] for r in ended["remainder"]}, {"superseded"}, "why the first help ended")
    wait_for(lambda: scene.sizes() == (768, 768), 50, "the second size")
    time.sleep(8)
    check_equal(scene.sizes(), (768, 768), "the second size, some seconds later")
    scene.obstacle_goes()
    scene.tell(f"stuck at {stuck} of 0 MiB, then asked for 768: the help ended as {ended['state']}, superseded; 768 stands")


def another_size_in_a_resize(scene):
    """A resize of our own gives way to a newer request of virsh, and neither settles nor kicks."""
    scene.full()
    scene.obstacle()
    identity = scene.ballast.ctl("resize", "g1", "384MiB", "--timeout", "100", "--detach").out.strip()
    scene.at_work(identity)
    scene.guest.resize(896, wait=False)
    ended = scene.ballast.wait_operation(identity, 40)
    check_equal({r["code"] for r in ended["remainder"]}, {"superseded"}, "why the resize ended")
    wait_for(lambda: scene.sizes() == (896, 896), 50, "the size that virsh asked for")
    check("settle" not in {s["kind"] for s in ended["steps"]}, "nothing is settled")
    check_equal(scene.guest.read(UNPLUG_ONLINE).strip(), "Y", "the driver's parameter")
    scene.obstacle_goes()
    scene.tell(f"virsh in the middle of a resize: it ended as {ended['state']} (superseded), 896 MiB stand")


def libvirtd_restarts(scene):
    """libvirtd is killed and started in the middle of a shrink: the same operation ends done."""
    scene.full()
    scene.obstacle()
    identity = scene.ballast.ctl("resize", "g1", "384MiB", "--timeout", "120", "--detach").out.strip()
    scene.at_work(identity)
    scene.host.restart_libvirt(kill_signal=9)
    scene.obstacle_goes()
    ended = scene.ballast.wait_operation(identity, 100)
    check_equal((ended["state"], scene.sizes()), ("succeeded", (0, 0)), f"the shrink: {ended['remainder']}")
    scene.tell(f"libvirtd killed in the middle of a shrink: {ended['state']} in {len(ended['steps'])} steps")


def daemon_is_killed(scene):
    """ballastd is killed in the middle of a shrink, and the obstacle goes while it is away."""
    scene.full()
    scene.obstacle()
    identity = scene.ballast.ctl("resize", "g1", "384MiB", "--timeout", "120", "--detach").out.strip()
    scene.at_work(identity)
    scene.ballast.kill()
    scene.obstacle_goes()
    scene.ballast.start()
    began = time.monotonic()
    ended = scene.ballast.wait_operation(identity, 100)
    check_equal((ended["state"], scene.sizes()), ("succeeded", (0, 0)), f"the shrink: {ended['remainder']}")
    check_at_most(time.monotonic() - began, 60, "seconds from the restart to the end")
    check_equal(scene.guest.read(UNPLUG_ONLINE).strip(), "Y", "the driver's parameter")
    kinds = [s["kind"] for s in ended["steps"]]
    scene.tell(f"ballastd killed in the middle of a shrink: {ended['state']} {time.monotonic() - began:.0f} s after its "
               f"restart: {' '.join(kinds)}")


def guests_word(scene):
    """The guest's owner says at run time that nothing may leave, and how much he keeps."""
    scene.full()
    drop_in = "/etc/ballast/ballast-agent.conf.d/word.conf"
    hang_up = "kill -HUP $(cat /run/agent.pid)"

    def say(text):
        scene.guest.run(f"mkdir -p {os.path.dirname(drop_in)}; echo '{text}' >{drop_in}; {hang_up}")

    def word():
        return scene.ballast.guest("g1")["agent"]["word"]
    say("memory_floor = 1GiB")
    wait_for(lambda: word()["floor_bytes"] == 1024 * MIB, 20, "the floor to be heard")
    refused = scene.ballast.ctl("resize", "g1", "640MiB", check=False)
    check("below its floor" in refused.err, f"a resize below the guest's floor: {refused}")
    say("veto = shrink")
    wait_for(lambda: word()["veto"], 20, "the veto to be heard")
    identity = scene.ballast.ctl("resize", "g1", "640MiB", "--timeout", "100", "--detach").out.strip()
    time.sleep(8)
    check_equal((scene.ballast.operation(identity)["state"], scene.sizes()), ("running", (1024, 1024)), "under a veto")
    say("")
    began = time.monotonic()
    ended = scene.ballast.wait_operation(identity, 60)
    check_equal((ended["state"], scene.sizes()), ("succeeded", (256, 256)), f"when it was withdrawn: {ended['remainder']}")
    took = time.monotonic() - began
    # No more than so much at once: the rest stays, with its reason.
    scene.full()
    say("shrink_limit = 256MiB")
    wait_for(lambda: word()["limit_bytes"] == 256 * MIB, 20, "the limit to be heard")
    scene.ballast.ctl("resize", "g1", "640MiB", "--timeout", "60", check=False)
    limited = scene.operations()[0]
    check_equal((limited["state"], scene.sizes(), {r["code"] for r in limited["remainder"]}),
                ("incomplete", (768, 768), {"below_floor"}), f"a shrink beyond the guest's limit: {limited['remainder']}")
    say("")
    # Of what it was asked for under no floor it gives no more once it has one.
    scene.full()
    scene.obstacle()
    identity = scene.ballast.ctl("resize", "g1", "384MiB", "--timeout", "100", "--detach").out.strip()
    scene.at_work(identity)
    say("memory_floor = 512MiB")
    ended = scene.ballast.wait_operation(identity, 60)
    check_equal((ended["state"], {r["code"] for r in ended["remainder"]}), ("incomplete", {"below_floor"}),
                f"a floor that rose in a shrink: {ended['remainder']}")
    # The driver ends what it was at, and plugs again what it took beyond that.
    wait_for(lambda: len(set(scene.sizes())) == 1, 60, "what is requested to be what there is", 1)
    current = scene.sizes()[1]
    scene.obstacle_goes()
    say("")
    scene.guest.run(f"rm {drop_in}")
    scene.tell(f"a floor of the guest is refused, a veto waited for; {took:.0f} s after its end 768 MiB had left; a floor in a "
               f"shrink ended it, with {current} MiB still plugged")


def guest_asks(scene):
    """The guest asks for more: granted as far as its policy goes, by an operation of its own, or refused with a reason."""
    scene.full()
    scene.ballast.ctl("resize", "g1", "640MiB")
    drop_in, hang_up = "/etc/ballast/ballast-agent.conf.d/ask.conf", "kill -HUP $(cat /run/agent.pid)"

    def want(size):
        scene.guest.run(f"mkdir -p {os.path.dirname(drop_in)}; echo 'memory_wanted = {size}' >{drop_in}; {hang_up}")

    def heard(text):
        wait_for(lambda: text in scene.guest.out(["cat", "/run/agent.log"]), 60, f"the agent to hear: {text}", 1)
    want("1GiB")
    heard("asked for 1024 MiB in all: refused: its policy lets it ask for nothing")
    check_equal(scene.sizes(), (256, 256), "without leave")
    scene.ballast.ctl("policy", "g1", "--request-limit", "1GiB")
    want("3GiB")
    heard("asked for 3072 MiB in all: granted in part: it is given 1 GiB in all")
    wait_for(lambda: scene.sizes() == (640, 640), 60, "the guest to have 1 GiB")
    check_equal(scene.operations()[0]["actor"], "guest", "who asked")
    scene.guest.run(f"rm {drop_in}; {hang_up}")
    scene.tell("the guest asked for 1 GiB: refused without a request limit; asked for 3 GiB: given the 1 GiB of its limit")


def guest_asks_under_pressure(scene):
    """A guest whose work waits for memory asks by itself, a step at a time, as far as its policy goes."""
    scene.full()
    scene.ballast.ctl("resize", "g1", "1GiB")
    before = {o["id"] for o in scene.operations()}
    drop_in, hang_up = "/etc/ballast/ballast-agent.conf.d/ask.conf", "kill -HUP $(cat /run/agent.pid)"
    scene.ballast.ctl("policy", "g1", "--request-limit", "1280MiB")
    scene.guest.run("mkdir -p /etc/ballast/ballast-agent.conf.d")
    scene.guest.write(drop_in, "ask_pressure_percent = 2\nask_step = 256MiB\n")
    scene.guest.run(f"add_swap 512M; {hang_up}")
    scene.guest.pattern_start(1040, name="pressing", timeout=300)
    wait_for(lambda: scene.sizes() == (896, 896), 120, "the guest to have 256 MiB more")
    asked = [o for o in scene.operations() if o["id"] not in before]
    # Its step counts from what its kernel has, which is less than what it was given: the rest is a second question.
    check_equal({(o["actor"], o["state"]) for o in asked}, {("guest", "succeeded")}, "who asked")
    check(len(asked) <= 2, f"how often it asked: {len(asked)}")
    check_equal(scene.guest.pattern_stop("pressing")["errors"], 0, "pattern errors under pressure")
    scene.guest.run(f"swapoff -a; rm {drop_in}; {hang_up}", 120)
    scene.tell("under pressure the guest asked for more, and was given the 256 MiB of its step")


def migration_in_the_middle(scene):
    """While the guest migrates its size is frozen, which is no stall; when that is given up the shrink goes on at once."""
    scene.full()
    neighbour = Neighbour(scene.host)
    neighbour.ready()
    scene.obstacle()
    identity = scene.ballast.ctl("resize", "g1", "384MiB", "--timeout", "150", "--detach").out.strip()
    scene.at_work(identity)
    # So slow that it cannot end by itself.
    scene.host.virsh("migrate-setspeed", "g1", "1")
    migration = neighbour.migration(scene.guest)
    wait_for(lambda: "Unbounded" in scene.host.virsh("domjobinfo", "g1").out, 40, "the migration to run")
    scene.obstacle_goes()
    frozen = scene.sizes()
    time.sleep(12)
    operation = scene.ballast.operation(identity)
    check_equal((operation["state"], scene.sizes()), ("running", frozen), "in the migration")
    scene.host.virsh("domjobabort", "g1")
    migration.wait(60)
    began = time.monotonic()
    ended = scene.ballast.wait_operation(identity, 60)
    check_equal((ended["state"], scene.sizes()), ("succeeded", (0, 0)), f"after the migration: {ended['remainder']}")
    scene.tell(f"{frozen[1]} MiB were left when the migration began; done {time.monotonic() - began:.0f} s after it was given "
               f"up: {' '.join(s['kind'] for s in ended['steps'])}")


def without_an_agent(scene):
    """Nobody inside can help: the driver, which would sleep for 50 s and more, is woken all the same."""
    scene.full()
    pages = scene.guest.hugepages(400)
    check(pages >= 350, f"free huge pages in the guest: {pages}")
    scene.guest.run("touch /run/no-agent; kill $(cat /run/agent.pid)")
    wait_for(lambda: not scene.ballast.guest("g1")["agent"]["connected"], 60, "the agent to be gone", 1)
    scene.guest.resize(0, wait=False)
    first = scene.helped()
    scene.at_work(first["id"])
    stuck = scene.sizes()[1]
    scene.guest.hugepages(0)
    began = time.monotonic()
    ended = scene.ballast.wait_operation(first["id"], 140)
    check_equal((ended["state"], scene.sizes()), ("succeeded", (0, 0)), f"the help: {ended['remainder']}")
    kinds = [s["kind"] for s in ended["steps"]]
    check_equal(set(kinds) - {"request", "kick", "await"}, set(), "steps that need an agent")
    check("kick" in kinds, f"the driver is woken: {kinds}")
    scene.guest.run("rm /run/no-agent")
    scene.ballast.wait_agent("g1")
    scene.tell(f"without an agent {stuck} MiB stayed behind {pages} free huge pages; {time.monotonic() - began:.0f} s after "
               f"those had gone it was done: {' '.join(kinds)}")


CASES = (past_free_huge_pages, guests_word, guest_asks)
FURTHER = (another_size_by_virsh, another_size_in_a_resize, libvirtd_restarts, daemon_is_killed, migration_in_the_middle,
           without_an_agent, guest_asks_under_pressure)


@story(20, "sizes by plain libvirt are helped, the newest request stands, and restarts in the middle do no harm", limit_s=900)
def plain_libvirt(tell):
    wanted = os.environ.get("BALLAST_CASES", "").split()
    with booted_host() as host:
        guest = Guest(host, "g1", 384, nodes="1", virtio_mem=[VirtioMem(1024)])
        guest.start()
        ballast = Ballast(host, {"limits": {"reserve": "256MiB"}})
        ballast.start()
        ballast.wait_agent("g1")
        scene, cases = Scene(host, guest, ballast, tell), Cases(tell)
        for case in CASES + FURTHER:
            if case.__name__ in wanted or (not wanted and (ALL_CASES or case in CASES)):
                began = time.monotonic()
                cases.run(case, scene)
                tell(f"  ({case.__name__}: {time.monotonic() - began:.0f} s)")
        cases.end()


if __name__ == "__main__":
    main()
