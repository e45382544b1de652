# SPDX-License-Identifier: Apache-2.0
"""Shrinks, each on two like guests: one that Ballast's agent helps, and one that has plain libvirt alone."""

import time
from dataclasses import dataclass

from bench import HOME, BenchGuest, throughput
from movers import step_seconds
from report import GIB, MIB, median
from testbed.channel import ChannelError, CommandFailed
from testbed.guest import VirtioMem
from testbed.virtual_host import wait_for

BASE_MIB, PLUGGED_MIB = 512, 1024
# Plain libvirt's driver looks again after 50 s at the earliest: what has not moved before does not move before that. Ballast
# has more time, which it does not take unless it needs it: emulated each of its steps takes seconds.
PLAIN_S, OURS_S = 60, 180
# A kernel that clears what it allocates clears what leaves: emulated that alone is a minute for a GiB, and hides the rest.
KERNEL = "init_on_alloc=0"
LOOK_S = 0.25
# The driver alone is asleep by then: emulated its last look at all of its memory takes tens of seconds.
OBSTACLE_S, AFTER_S = 60, 360
THROUGHPUT_S = 8
WRITER_MIB, LEFT_MIB = 384, 128
# Of the time, and how long that may take.
SHARE, SHARED_S = "5%", 400


@dataclass
class Shrunk:
    """A shrink. seconds: until its size was reached or it was given up. left: bytes too many at the end."""
    seconds: float
    wanted: int
    left: int
    reason: str = ""

    def __str__(self):
        share = 100 * self.left / self.wanted
        end = "done" if not self.left else f"{share:.0f} % stay ({self.reason or 'nobody says why'})"
        return f"{self.seconds:6.1f} s  {end}"


def _plugged(guest):
    return guest.virtio_mem_sizes()[0]["current"]


def _by_libvirt(guest, mib, timeout=PLAIN_S):
    before, began = _plugged(guest), time.monotonic()
    reached = guest.resize(mib, timeout=timeout)
    seconds, left = time.monotonic() - began, _plugged(guest) - mib * MIB
    return Shrunk(seconds, before - mib * MIB, 0 if reached else left)


def _by_ballast(bench, guest, mib, *options, timeout=OURS_S):
    before, began = _plugged(guest), time.monotonic()
    operation = bench.ballast.ctl_json("resize", guest.name, f"{BASE_MIB + mib}MiB", "--timeout", timeout, *options,
                                       timeout=timeout + 60, check=False)
    seconds, left = time.monotonic() - began, _plugged(guest) - mib * MIB
    rungs = ", ".join(f"{rung['rung']} {rung['gained_bytes'] // MIB} MiB" for rung in operation["result"]["climbed"])
    bench.report.line(f"{guest.name}: climbed: {rungs or 'nothing'}; {_steps(operation)}")
    return Shrunk(seconds, before - mib * MIB, max(left, 0),
                  ", ".join(sorted({part["code"] for part in operation["remainder"]})))


def _steps(operation):
    return ", ".join(f"{step['kind']} {step_seconds(step):.1f} s" for step in operation["steps"] if step.get("ended_at"))


def _promised(bench, guest, mib):
    """Bytes that the forecast says can leave."""
    plan = bench.ballast.ctl_json("resize", guest.name, f"{BASE_MIB + mib}MiB", "--dry-run", check=False)
    stays = sum(part.get("bytes", 0) for part in plan["forecast"])
    return _plugged(guest) - mib * MIB - stays


def _free_pool(guest):
    guest.hugepages(400)


def _used_pool(guest):
    guest.hugepages(160)
    guest.pattern_start(256, name="huge", hugetlb=True)


def _kernel_objects(guest):
    """Inodes all over what is plugged, and most of them gone again."""
    guest.run("mkdir -p /run/many && cd /run/many && for i in $(seq 1 40); do mkdir $i; "
              "for j in $(seq 1 500); do echo >$i/$j; done; done", timeout=120)
    guest.run("cd /run/many && for i in $(seq 1 40); do [ $((i % 4)) = 0 ] || rm -r $i; done", timeout=120)


def _page_cache(guest):
    """A file of a real file system, read once; it can be read again."""
    guest.run("dd if=/dev/vda of=/dev/null bs=1M", timeout=240)


def _anonymous(guest):
    guest.pattern_start((BASE_MIB + PLUGGED_MIB) * 4 // 5, name="anonymous", once=True, timeout=240)


def _anonymous_and_nothing_kept(guest):
    """As the driver alone, which keeps nothing available to the guest's work."""
    guest.run("mkdir -p /etc/ballast/ballast-agent.conf.d")
    guest.write("/etc/ballast/ballast-agent.conf.d/keep.conf", "keep_available_percent = 0\n")
    guest.run("[ ! -e /run/agent.pid ] || kill -HUP $(cat /run/agent.pid)")
    _anonymous(guest)


def _nothing(guest):
    pass


@dataclass
class Scene:
    """What fills the guests, and to how much of virtio-mem they are to shrink."""
    name: str
    fill: object
    target_mib: int
    online: str = "online_movable"
    disk: bool = False


SCENES = (
    Scene("nothing in the way", _nothing, 0),
    Scene("free huge pages", _free_pool, 0),
    Scene("huge pages in use", _used_pool, 256),
    Scene("fragmented by kernel objects", _kernel_objects, 0, online="online"),
    Scene("page cache", _page_cache, 0, disk=True),
    Scene("80 % anonymous", _anonymous, 896),
    Scene("80 % anonymous, nothing kept", _anonymous_and_nothing_kept, 896),
)


def _guest(bench, scene, name, agent):
    disk = ""
    if scene.disk:
        bench.host.run("[ -e /run/testbed/disk ] || truncate -s 1G /run/testbed/disk")
        disk = ("<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/run/testbed/disk'/>"
                "<target dev='vda' bus='virtio'/><readonly/><shareable/></disk>")
    return BenchGuest(bench.host, name, BASE_MIB, virtio_mem=[VirtioMem(PLUGGED_MIB)], nodes=str(HOME), agent=agent,
                      online=scene.online, extra_devices=disk, kernel_arguments=KERNEL)


def _pair(bench, scene):
    """One that Ballast helps, and its like."""
    return _guest(bench, scene, "ours", True), _guest(bench, scene, "plain", False)


def _grow(*guests):
    for guest in guests:
        if not guest.resize(PLUGGED_MIB, timeout=120):
            raise MemoryError(f"{guest.name} did not grow")


def _play(bench, scene):
    """One scene. Returns the share of what was promised that left, in percent; None where plain libvirt does not stall."""
    report = bench.report
    ours, plain = _pair(bench, scene)
    with bench.guests(ours, plain):
        _grow(ours, plain)
        for guest in (ours, plain):
            scene.fill(guest)
        theirs = _by_libvirt(plain, scene.target_mib)
        promised = _promised(bench, ours, scene.target_mib)
        mine = _by_ballast(bench, ours, scene.target_mib)
        # Of guests that have died under the emulation nothing can be said.
        left_to = {guest: guest.meminfo('MemAvailable') for guest in (ours, plain)}
    gone = mine.wanted - mine.left
    report.line(f"{scene.name:<30} plain libvirt {theirs}")
    report.line(f"{'':<30} ballast       {mine}")
    report.line(f"{'':<30} foreseen {promised // MIB} MiB, gone {gone // MIB} MiB; available to the guest then "
                f"{left_to[ours] // MIB} MiB, by plain libvirt {left_to[plain] // MIB} MiB")
    report.number(f"{scene.name}: seconds", mine.seconds, "s", plain=theirs.seconds, left=mine.left,
                  plain_left=theirs.left, promised=promised)
    if scene.fill is _nothing or not theirs.left:
        return None
    return 100 * gone / promised if promised else 0


def shrink(bench):
    """shrinks past what stands in the way, beside plain libvirt on a like guest"""
    report, kept, unseen = bench.report, [], []
    for scene in (scene for scene in SCENES if bench.scene in scene.name):
        try:
            share = _play(bench, scene)
        except (ChannelError, CommandFailed, MemoryError, TimeoutError) as why:
            # The other scenes have guests of their own.
            report.cannot(f"scene {scene.name}", f"{type(why).__name__}: {why}".splitlines()[0])
            unseen.append(scene.name)
            continue
        if share is not None:
            kept.append(share)
    if kept:
        report.target("what left of what the forecast promised, where plain libvirt stalls, the least", min(kept),
                      "at least 100 %", min(kept) >= 100, "%", 0)
    else:
        report.cannot("what the forecast promised where plain libvirt stalls", "it stalled nowhere")
    if unseen:
        raise RuntimeError(f"not seen to their end: {', '.join(unseen)}")


def shrink_plain(bench):
    """a shrink with nothing in the way, to and fro: what Ballast's care costs"""
    ours, plain = _pair(bench, SCENES[0])
    times = {ours: [], plain: []}
    with bench.guests(ours, plain):
        for _ in range(bench.rounds):
            _grow(ours, plain)
            times[plain].append(_by_libvirt(plain, 0).seconds)
            times[ours].append(_by_ballast(bench, ours, 0).seconds)
    bench.report.line(", ".join(f"{guest.name}: {' '.join(f'{t:.1f}' for t in done)} s" for guest, done in times.items()))
    ratio = min(times[ours]) / min(times[plain])
    bench.report.target("a shrink with nothing in the way against plain libvirt, best of each", ratio, "at most 1.05",
                        ratio <= 1.05)


def _after_obstacle(bench, guest, identity):
    """The obstacle goes away. Returns how much was stuck, and the seconds from then on until all of it has left."""
    time.sleep(OBSTACLE_S)
    stuck = _plugged(guest)
    guest.pattern_stop("huge")
    guest.hugepages(0)
    began = time.monotonic()
    try:
        wait_for(lambda: _plugged(guest) == 0, AFTER_S, "the rest to leave", LOOK_S)
        seconds = time.monotonic() - began
    except TimeoutError:
        seconds = float("inf")
    bench.report.line(f"{guest.name}: {stuck // MIB} MiB of {GIB // MIB} stuck; after the obstacle went away {seconds:.1f} s" +
                      (" (not in time)" if seconds == float("inf") else ""))
    if identity:
        bench.report.line(f"{guest.name}: {_steps(bench.ballast.wait_operation(identity, 240))}")
    return stuck, seconds


def shrink_obstacle(bench):
    """huge pages in use stand in the way and go away: how long after that it is done"""
    ours, plain = _pair(bench, SCENES[0])
    after, free = {ours: [], plain: []}, []
    with bench.guests(ours, plain):
        for _ in range(bench.rounds):
            _grow(ours, plain)
            for guest in (ours, plain):
                # More than fits elsewhere: they cannot be moved out of the way.
                guest.pattern_start(min(guest.hugepages(400), 400) * 2, name="huge", hugetlb=True)
            plain.resize(0, wait=False)
            after[plain].append(_after_obstacle(bench, plain, "")[1])
            identity = bench.ballast.ctl("resize", "ours", f"{BASE_MIB}MiB", "--timeout", "180", "--detach").out.strip()
            stuck, seconds = _after_obstacle(bench, ours, identity)
            after[ours].append(seconds)
            # What the emulated driver needs for as much when nothing has ever been in its way.
            if not plain.resize(stuck // MIB, timeout=120):
                raise MemoryError("plain did not grow")
            free.append(_by_libvirt(plain, 0).seconds)
    bench.report.line(f"as much with nothing in the way, by plain libvirt: {' '.join(f'{t:.1f}' for t in free)} s")
    best = min(after[ours])
    bench.report.target("done after the obstacle goes away, best of each", best, "within 2 s", best <= 2, "s", 1,
                        plain=min(after[plain]), unhindered=min(free))


def shrink_throughput(bench):
    """what the guest's own work still does while it shrinks, with a share of the time and without"""
    report, ours = bench.report, _guest(bench, SCENES[0], "ours", True)
    undisturbed, shared, full = [], [], []
    with bench.guests(ours):
        for turn in range(max(2, bench.rounds)):
            _grow(ours)
            if not turn:
                ours.pattern_start(WRITER_MIB, name="writer", pace_us=50)
            for pages, options in ((full, ()), (shared, ("--budget", SHARE))):
                undisturbed.append(throughput(ours, lambda: time.sleep(THROUGHPUT_S))[0])
                done, shrunk = throughput(ours, lambda o=options: _by_ballast(bench, ours, LEFT_MIB, *o, timeout=SHARED_S))
                pages.append(done)
                report.line(f"{' '.join(options) or 'all of the time'}: {shrunk}; {done:.0f} pages a second, undisturbed "
                            f"{undisturbed[-1]:.0f}")
                _grow(ours)
        ours.pattern_stop("writer")
    report.line(f"all of the time: {100 * median(full) / median(undisturbed):.0f} % of undisturbed")
    ratio = 100 * median(shared) / median(undisturbed)
    report.target(f"the guest's own throughput during a shrink with {SHARE} of its time, medians", ratio,
                  "at least 80 % of undisturbed", ratio >= 80, "%", 0)
