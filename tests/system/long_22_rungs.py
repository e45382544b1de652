#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 22: what a guest does for a shrink when asking alone is not enough: hooks, room for huge pages, reclaim."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from ballast import Ballast  # noqa: E402
from testbed.guest import Guest, VirtioMem  # noqa: E402
from testbed.story import Cases, booted_host, check, check_equal, main, story, wait_for  # noqa: E402

MIB = 1 << 20
BASE_MIB, PLUGGED_MIB = 512, 512
WORK_MIB = 480
POOL = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
LOG = "/run/hook.log"
# A disk that is slow to read, as a disk is: what is fetched back from there is missed.
DISK = "/run/testbed/swap"
DISK_XML = f"""<disk type='file' device='disk'><driver name='qemu' type='raw' cache='unsafe'/><source file='{DISK}'/>
<target dev='vda' bus='virtio'/><iotune><read_iops_sec>1000</read_iops_sec></iotune></disk>"""


def climbed(operation):
    return {rung["rung"]: rung["gained_bytes"] // MIB for rung in operation["result"]["climbed"]}


def codes(operation):
    return sorted({remainder["code"] for remainder in operation["remainder"]})


def in_words(operation):
    rungs = ", ".join(f"{rung} {mib} MiB" for rung, mib in climbed(operation).items())
    return f"{operation['state']} after {rungs or 'nothing'}; remainder: {', '.join(codes(operation)) or 'none'}"


class Scene:
    def __init__(self, host, tell):
        self.tell = tell
        host.run(["truncate", "-s", "512M", DISK])
        self.guest = Guest(host, "g1", BASE_MIB, nodes="1", virtio_mem=[VirtioMem(PLUGGED_MIB)], extra_devices=DISK_XML)
        self.guest.start()
        self.ballast = Ballast(host, {"limits": {"reserve": "256MiB"}})
        self.ballast.start()
        self.ballast.wait_agent("g1")

    def grow(self):
        """Growing is not what this story is about: all of it must be there at last."""
        self.ballast.ctl("resize", "g1", f"{BASE_MIB + PLUGGED_MIB}MiB", "--timeout", 60, check=False)
        wait_for(lambda: self.guest.online_movable_bytes() == PLUGGED_MIB * MIB, 30, "the memory to be online in the guest")

    def shrink(self, *options, timeout=90):
        operation = self.ballast.ctl_json("resize", "g1", f"{BASE_MIB}MiB", "--timeout", timeout, *options, check=False)
        self.tell(in_words(operation))
        if operation["state"] != "succeeded":
            for step in operation["steps"]:
                self.tell(f"    {step['kind']} {step['state']} {step['done_bytes'] // MIB} MiB  {step['detail']}")
        return operation

    def tell_agent(self, configuration, hooks=(), signal="TERM"):
        """A new configuration, and an agent that has read it: another one, or by HUP the same."""
        before = self.guest.read("/run/agent.pid")
        self.guest.agent_is_told(configuration, hooks, signal)
        if signal == "TERM":
            wait_for(lambda: self.guest.read("/run/agent.pid") != before, 30, "the agent to begin anew", 0.5)
        wait_for(lambda: ("hooks" in self.ballast.guest("g1")["agent"]["features"]) == ("hooks = yes" in configuration),
                 30, "the host to hear of it", 0.5)

    def clear(self):
        """Nothing of a case is left to the next one, also where it failed."""
        self.guest.run("for name in huge held; do pattern ask $name quit; done; rm -f /run/idle/file", check=False)
        self.guest.hugepages(0)
        if "hooks" in self.ballast.guest("g1")["agent"]["features"]:
            self.tell_agent([])

    def plugged(self):
        return self.guest.virtio_mem_sizes()[0]["current"]


def huge_pages_in_use(scene):
    """In memory that is to leave: they move to the memory that stays, with what an application has written there."""
    guest = scene.guest
    scene.grow()
    check_equal(guest.hugepages(80), 80, "huge pages in the guest")
    guest.pattern_start(150, name="huge", hugetlb=True, pace_us=500)
    operation = scene.shrink()
    check_equal(operation["state"], "succeeded", "a shrink past huge pages in use")
    check_equal(scene.plugged(), 0, "bytes that stayed plugged")
    status = guest.pattern_rounds(1, name="huge")
    check_equal(status["errors"], 0, "pattern errors in the huge pages")
    pool = int(guest.read(POOL))
    check(75 <= pool <= 80, f"the pool has what is in use, and at most what it had: {pool}")
    guest.pattern_stop("huge")
    guest.hugepages(0)


def room_for_huge_pages(scene):
    """Where the driver alone does not get on, huge pages in use get room first; their pool is as large as before then."""
    guest = scene.guest
    scene.grow()
    check_equal(guest.hugepages(60), 60, "huge pages in the guest")
    guest.pattern_start(118, name="huge", hugetlb=True, pace_us=500)
    guest.pattern_start(100, name="held", once=True, held=64)
    operation = scene.shrink(timeout=60)
    check_equal(operation["state"], "incomplete", "a shrink past pinned pages")
    check("make room" in climbed(operation), f"room is among the rungs: {climbed(operation)}")
    wait_for(lambda: int(guest.read(POOL)) in (58, 59, 60), 30, "the pool to be as large as before")
    check_equal(guest.pattern_rounds(1, name="huge")["errors"], 0, "pattern errors in the huge pages")
    # Without what was pinned it goes.
    guest.pattern_stop("held")
    check_equal(scene.shrink()["state"], "succeeded", "the same shrink when nothing is pinned any more")
    check_equal(guest.pattern_rounds(1, name="huge")["errors"], 0, "pattern errors in the huge pages at the end")
    guest.pattern_stop("huge")
    guest.hugepages(0)


def free_huge_pages_in_blocks(scene):
    """With a share of the time blocks take along what is free in them, also what the guest keeps: it comes back with memory."""
    guest = scene.guest
    scene.tell_agent(["hugepage_floor_2MiB = 120"])
    scene.grow()
    check_equal(guest.hugepages(120), 120, "huge pages in the guest")
    operation = scene.shrink("--budget", "60%")
    check_equal(operation["state"], "succeeded", "a shrink of blocks with free huge pages in them")
    check_equal(scene.plugged(), 0, "bytes that stayed plugged")
    left = int(guest.read(POOL))
    check(left < 120, f"some have gone with their blocks: {left} are left")
    scene.grow()
    wait_for(lambda: int(guest.read(POOL)) == 120, 30, "the pool to be as large as before")
    scene.tell(f"{120 - left} of 120 free huge pages went with their blocks, and came back with the memory")
    guest.hugepages(0)
    scene.tell_agent([])


def surplus_huge_pages(scene):
    """In use beyond their pool: the shrink finishes, and the pool has just its own pages when they are let go."""
    guest = scene.guest
    counts = POOL.rsplit("/", 1)[0]
    scene.grow()
    check_equal(guest.hugepages(40), 40, "huge pages in the guest")
    guest.write(f"{counts}/nr_overcommit_hugepages", "40")
    guest.pattern_start(118, name="huge", hugetlb=True, pace_us=500)
    surplus = int(guest.read(f"{counts}/surplus_hugepages"))
    check(surplus >= 18, f"some of them are surplus: {surplus}")
    operation = scene.shrink()
    check_equal(operation["state"], "succeeded", "a shrink past surplus huge pages in use")
    check_equal(scene.plugged(), 0, "bytes that stayed plugged")
    check_equal(guest.pattern_rounds(1, name="huge")["errors"], 0, "pattern errors in the huge pages")
    guest.pattern_stop("huge")
    wait_for(lambda: [int(guest.read(f"{counts}/{name}_hugepages")) for name in ("nr", "surplus")] == [40, 0], 60,
             "the pool to have its own pages and no others", 1)
    check_equal(guest.hugepages(50), 50, "and it grows")
    guest.write(f"{counts}/nr_overcommit_hugepages", "0")
    guest.hugepages(0)


def a_hook_lets_go(scene):
    """Pages that the kernel cannot move, until the application is asked."""
    guest = scene.guest
    scene.tell_agent(["hooks = yes"], [("10-application",
                                        f"echo $BALLAST_HOOK $BALLAST_OUTCOME >>{LOG}\n"
                                        f"echo $BALLAST_BYTES $BALLAST_RANGES >>{LOG}\n"
                                        "[ $1 = after ] || pattern ask held quit >/dev/null")])
    scene.grow()
    guest.pattern_start(320, name="held", once=True, held=64)
    operation = scene.shrink()
    check_equal(operation["state"], "succeeded", "a shrink past pinned pages whose owner has a hook")
    check_equal(scene.plugged(), 0, "bytes that stayed plugged")
    check("hooks" in climbed(operation), f"hooks are among the rungs: {climbed(operation)}")
    told = guest.read(LOG).split("\n")
    check_equal((told[0], told[2]), ("before", "after kept"), "what the hook was told")
    check_equal(told[1], told[3], "bytes and ranges before and after")
    # The whole device was to leave, and there is no other.
    size, *ranges = told[1].split()
    device = guest.run("ls /sys/bus/virtio/drivers/virtio_mem | grep '^virtio[0-9]'").out.strip()
    region = guest.run(f"grep ': {device}$' /proc/iomem").out.split(" : ")[0].strip()
    start, end = (int(part, 16) for part in region.split("-"))
    check_equal((0 < int(size) <= PLUGGED_MIB * MIB, ranges), (True, [f"{start:x}-{end + 1:x}"]),
                f"bytes and ranges that are to leave: {told[1]}")


def a_hook_that_hangs(scene):
    """It is killed at its deadline and named, and the shrink goes as far as it can."""
    guest = scene.guest
    scene.tell_agent(["hooks = yes", "hook_timeout_s = 2"], [("10-sleepy", "echo waiting; sleep 1000")])
    scene.grow()
    guest.pattern_start(320, name="held", once=True, held=64)
    operation = scene.shrink(timeout=45)
    check_equal(operation["state"], "incomplete", "a shrink past pinned pages whose hook hangs")
    failed = [warning for warning in operation["warnings"] if warning["code"] == "hook_failed"]
    check(failed and "10-sleepy" in failed[0]["detail"] and "waiting" in failed[0]["detail"],
          f"the hook is named with its last line: {operation['warnings']}")
    check(0 < scene.plugged() < PLUGGED_MIB * MIB, f"some left, some stayed: {scene.plugged() // MIB} MiB plugged")
    check_equal(guest.run("pidof sleep | wc -w").out.strip(), "0", "what the hook had started")


def a_hook_that_fails(scene):
    """Each that did, or must not run, is named; the shrink goes as far as it can. The agent has read that there are hooks."""
    guest = scene.guest
    agent = guest.read("/run/agent.pid")
    scene.tell_agent(["hooks = yes"], [("10-open", f"echo open >>{LOG}.open"), ("20-refuses", "echo no, not now; exit 3")],
                     signal="HUP")
    guest.run("chmod 777 /etc/ballast/hooks.d/10-open")
    scene.grow()
    guest.pattern_start(320, name="held", once=True, held=64)
    operation = scene.shrink(timeout=45)
    check_equal(guest.read("/run/agent.pid"), agent, "the agent")
    check_equal(operation["state"], "incomplete", "a shrink past pinned pages whose hook refuses")
    told = " ".join(warning["detail"] for warning in operation["warnings"] if warning["code"] == "hook_failed")
    check("10-open: not run: others can write it" in told and "20-refuses: exit status 3: no, not now" in told,
          f"both hooks are named: {operation['warnings']}")
    check_equal(guest.run(f"ls {LOG}.open", check=False).rc, 1, "the hook that others can write has not run")
    check(0 < scene.plugged() < PLUGGED_MIB * MIB, f"some left, some stayed: {scene.plugged() // MIB} MiB plugged")
    scene.tell_agent([], signal="HUP")


def memory_is_reclaimed(scene):
    """More is in use than what stays has room for; what is not used much goes to compressed memory, by whichever rung."""
    guest = scene.guest
    scene.grow()
    guest.run("add_swap 512M; mkdir -p /run/idle; mount -t tmpfs -o size=90% tmpfs /run/idle")
    guest.run("dd if=/dev/zero of=/run/idle/file bs=1M count=420", timeout=120)
    before = guest.meminfo("SwapFree")
    operation = scene.shrink(timeout=120)
    check_equal(operation["state"], "succeeded", "a shrink below what is in use")
    swapped = (before - guest.meminfo("SwapFree")) // MIB
    scene.tell(f"{swapped} MiB went to swap")
    check(swapped > 50, "some of it was reclaimed")
    check_equal(guest.run("ls -l /run/idle/file | awk '{print $5}'").out.strip(), str(420 * MIB), "what was written")
    guest.run("rm /run/idle/file")


def waited_s(guest):
    """How long some of the guest's work has waited for memory since it booted: its kernel's word."""
    return int(guest.read("/proc/pressure/memory").split("total=")[1].split()[0]) / 1e6


def shrunk_beside_work(scene, words):
    """A shrink below what the guest works with, and how many rounds that got on in a second."""
    guest = scene.guest
    scene.grow()
    guest.pattern_rounds(2, "held")
    guest.pattern_reset_pause("held")
    before, waited, began = guest.pattern_status("held"), waited_s(guest), time.monotonic()
    operation = scene.shrink(timeout=60)
    seconds, waited, after = time.monotonic() - began, waited_s(guest) - waited, guest.pattern_status("held")
    scene.tell(f"{words}: {scene.plugged() // MIB} MiB stay plugged; of {seconds:.0f} s some work waited for memory {waited:.1f} s; "
               f"{after['rounds'] - before['rounds']} rounds of {WORK_MIB} MiB, the longest pause "
               f"{after['longest_pause_us'] / 1000:.0f} ms")
    check(after["rounds"] > before["rounds"] and after["longest_pause_us"] < seconds * 1e6 / 2, "its work has got on")
    check_equal(after["errors"], 0, "pattern errors")
    return operation, (after["rounds"] - before["rounds"]) / seconds


def pressure_ends_reclaim(scene):
    """What the guest works with all the time is missed when it is taken: reclaim ends by that, and the work gets on."""
    guest = scene.guest
    scene.grow()
    guest.run("swapoff /dev/zram0", check=False)
    guest.run("mkswap /dev/vda && swapon /dev/vda")
    guest.pattern_start(WORK_MIB, name="held", timeout=240)
    limited, rate = shrunk_beside_work(scene, "with the limit of pressure")
    ends = {part["code"] for step in limited["steps"] if step["kind"] == "reclaim" for part in step["remainder"]}
    check_equal(limited["state"], "incomplete", "a shrink below what the guest works with")
    check("guest_pressure" in ends, f"how reclaim ended: {ends}")
    check("guest_pressure" in codes(limited), f"pressure is a reason: {limited['remainder']}")
    # The limit is what ended it, and spared the work.
    scene.tell_agent(["reclaim_pressure_percent = 100"])
    unlimited, without = shrunk_beside_work(scene, "without it")
    check(climbed(unlimited).get("reclaim", 0) > 2 * climbed(limited).get("reclaim", 0), "more is reclaimed without the limit")
    check(rate > without, f"rounds in a second beside a limited reclaim, {rate:.1f}, and beside one without a limit, {without:.1f}")
    guest.pattern_stop("held")
    scene.tell_agent([])


@story(22, "hooks, room for huge pages in use, reclaim: a shrink that asking alone would not finish", limit_s=1200)
def rungs(tell):
    wanted = os.environ.get("BALLAST_CASE", "")
    with booted_host() as host:
        scene, cases = Scene(host, tell), Cases(tell)
        for case in (huge_pages_in_use, room_for_huge_pages, free_huge_pages_in_blocks, surplus_huge_pages,
                     a_hook_lets_go, a_hook_that_hangs, a_hook_that_fails, memory_is_reclaimed, pressure_ends_reclaim):
            if wanted not in case.__name__:
                continue
            began = time.monotonic()
            cases.run(case, scene)
            scene.clear()
            tell(f"  ({case.__name__}: {time.monotonic() - began:.0f} s)")
        cases.end()


if __name__ == "__main__":
    main()
