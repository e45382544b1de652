# SPDX-License-Identifier: Apache-2.0
"""Sections about moving, each on like guests beside the peers, in turn."""

import functools
import re
import time

from bench import AWAY, HOME, BenchGuest, throughput
from movers import (BareLoop, CannotMove, MigratePages, Numad, Numatune, Ours, best_rate, bytes_by_node, describe, in_turn,
                    median_rate)
from report import MIB, median
from testbed.channel import ChannelError, CommandFailed
from testbed.guest import VirtioMem
from testbed.virtual_host import wait_for

BATCHES = (512, 2048, 8192)
HUGE_BATCHES = (8, 32, 128)
# Threads that the plan takes on this host.
WORKERS = 2
# Large enough that a worker's start is a small part of the time.
SMALL_MIB, HUGE_MIB = 1024, 3072
STALL_MIB, WRITER_MIB = 384, 128
# One chunk of the kernel's own: with fewer the writer's pauses were forty times as long, with more not shorter.
STALL_BATCH = 512
# What numad finds on the other node.
SPREAD_MIB = 64
# What a process of the guest holds, and what another has left: with the guest's own kernel half of it all is free inside.
# Large, so that what does not grow with a guest is a small part of the time.
FREE_BASE_MIB, FREE_PLUGGED_MIB, FREE_HELD_MIB, FREE_FILL_MIB = 2048, 3072, 1792, 2304
UNHEEDED = ("--stall-budget", "1000s")
BUDGET_MIB, BUDGET_WRITER_MIB, BUDGET_SHARE = 320, 64, 0.2
UNDISTURBED_S = 8


def _best_batch(report, guest, host, batches, threads=1):
    """Tries each batch both ways. Returns all moves, by batch, and the best batch; the guest is where it was."""
    tried = {}
    for batch in batches:
        for node in (AWAY, HOME):
            moved = BareLoop(host, batch, threads).move(guest, node)
            tried.setdefault(batch, []).append(moved)
            report.line(describe(moved))
    return tried, max(tried, key=lambda batch: best_rate(tried[batch]))


def _compare(report, moves):
    for name, done in moves.items():
        report.line(f"{name:<22} best {best_rate(done):7.1f}, median {median_rate(done):7.1f} MiB/s of {len(done)}")
        report.number(f"{name}: best", best_rate(done), "MiB/s")
        report.number(f"{name}: median", median_rate(done), "MiB/s")


def _rate_per_worker(done):
    """The best rate of one worker inside its calls: what is beside them is its start, its looks and its report."""
    return max((moved.bytes / MIB / moved.parts["calls"] for moved in done if moved.parts.get("calls")), default=0)


def _beside_peers(bench, guest, batches):
    """Moves the guest to and fro with each mover in turn. Returns ({name: moves}, {threads: the bare loop's moves})."""
    host, report = bench.host, bench.report
    ours, migratepages, loops, bare = Ours(bench.ballast), MigratePages(host), [], {}
    bench.settle(guest, ours, AWAY)
    bench.settle(guest, migratepages, HOME)
    for threads in (1, WORKERS):
        try:
            tried, batch = _best_batch(report, guest, host, batches, threads)
        except CannotMove as why:
            report.cannot(f"bare loop with {threads} threads", str(why))
            continue
        bare[threads] = [moved for each in tried.values() for moved in each]
        loops.append(BareLoop(host, batch, threads))
    report.line(f"in turn, {bench.rounds} rounds:")
    moves = in_turn(report, guest, [ours, migratepages, *loops], bench.rounds, (HOME, AWAY))
    for loop in loops:
        bare[loop.threads] += moves[loop.name]
    _compare(report, moves)
    return moves[ours.name], moves[migratepages.name], bare


def _tell_move(report, mine, migratepages, bare, times):
    # What disturbs only slows: the best of each says most about the work itself.
    ratio = best_rate(mine) / best_rate(migratepages)
    report.target(f"mover's step, {WORKERS} workers, against migratepages, best of each", ratio, f"at least {times}",
                  ratio >= times)
    report.line(f"medians: {median_rate(mine) / median_rate(migratepages):.2f} times migratepages")
    for threads, moves in bare.items():
        ratio = 100 * best_rate(mine) / best_rate(moves)
        report.line(f"against the best bare loop with {threads} threads: {ratio:.0f} % by the whole step; the bare loop is "
                    f"{best_rate(moves) / best_rate(migratepages):.2f} times migratepages")
        report.number(f"against the best bare loop with {threads} threads", ratio, "%")
    report.line(f"the whole command: {min(m.parts['command'] for m in mine):.2f} s, of that the operation "
                f"{min(m.parts['operation'] for m in mine):.2f} s and its moving step "
                f"{min(m.parts['step'] for m in mine):.2f} s")


def mover_small(bench):
    """an idle guest's 4 KiB pages of a memfd, beside migratepages and the best bare loops"""
    guest = BenchGuest(bench.host, "small", SMALL_MIB, prealloc=True, nodes="", agent=False)
    with bench.guests(guest):
        mine, migratepages, bare = _beside_peers(bench, guest, BATCHES)
    _tell_move(bench.report, mine, migratepages, bare, 2)
    if WORKERS in bare:
        ratio = 100 * _rate_per_worker(mine) * WORKERS / best_rate(bare[WORKERS])
        bench.report.target(f"a worker's rate in its calls against that of one of the best bare loop's {WORKERS} threads",
                            ratio, "at least 95 %", ratio >= 95, "%", 0)


def mover_huge(bench):
    """an idle guest's hugetlb pages of 2 MiB"""
    guest = BenchGuest(bench.host, "huge", HUGE_MIB, backing="hugepages", prealloc=True, agent=False)
    with bench.pools(HUGE_MIB // 2 + 8, HOME, AWAY), bench.guests(guest):
        mine, migratepages, bare = _beside_peers(bench, guest, HUGE_BATCHES)
    _tell_move(bench.report, mine, migratepages, bare, 3)


class _Pauses:
    """The longest pause of a guest's writer while somebody moves the guest."""

    def __init__(self, report):
        self.report, self.pauses, self.seconds, self.errors = report, {}, {}, 0

    def during(self, guest, name, action):
        """Runs action(), a Moved or None, between two looks at the writer. False when the guest has died of it."""
        boot = guest.boot_id()
        try:
            self._during(guest, name, action)
            return True
        except (ChannelError, CommandFailed, TimeoutError, CannotMove) as why:
            # An overloaded emulation now and then delivers an interrupt twice when the page under its entry has just
            # moved, by whatever hand; the guest's kernel does not survive it, and starts anew.
            if _lives(guest, boot):
                raise
            _tell_death(self.report, guest, name, why)
            return False

    def _during(self, guest, name, action):
        guest.pattern_rounds(1, name="writer")
        guest.pattern_reset_pause("writer")
        began = time.monotonic()
        moved = action()
        took = moved.seconds if moved else time.monotonic() - began
        # A pause is known when it is over.
        time.sleep(0.5)
        status = guest.pattern_status("writer")
        pause = status["longest_pause_us"] / 1000
        self.pauses.setdefault(name, []).append(pause)
        self.seconds.setdefault(name, []).append(took)
        self.errors += status["errors"]
        text = f"{name:<24} {took:6.1f} s, longest pause {pause:7.1f} ms"
        if moved:
            text += f", {moved.left // 4096} pages left"
        if moved and moved.calls:
            text += f", {moved.calls} calls, longest {moved.longest_us / 1000:.0f} ms"
        if moved and moved.parts.get("calls"):
            text += f", {moved.parts['calls']:.1f} s in them"
        self.report.line(text)
        self.report.number(f"{name}: longest pause", pause, "ms", seconds=took)

    def tell(self, own, control):
        report = self.report
        for name, found in self.pauses.items():
            report.line(f"{name:<24} median {median(self.seconds[name]):6.1f} s, longest pause: median "
                        f"{median(found):7.1f}, least {min(found):.1f}, most {max(found):.1f} ms")
        peers = {name: median(found) for name, found in self.pauses.items() if not name.startswith((own, control))}
        if own not in self.pauses or not peers:
            report.cannot("pauses", "not all of them could move the guest")
            return
        mine = median(self.pauses[own])
        gentlest, worst = min(peers, key=peers.get), max(peers, key=peers.get)
        ratio = mine / peers[gentlest]
        report.target(f"longest pause against the best peer's ({gentlest}), medians", ratio, "at most 1", ratio <= 1)
        ratio = mine / peers[worst]
        report.target(f"longest pause against the worst peer's ({worst}), medians", ratio, "under 0.1", ratio < 0.1, digits=3)
        report.target("pattern errors in all of it", self.errors, "0", self.errors == 0, digits=0)


def _away(guest):
    """The one of the two nodes that most of the guest is not on."""
    where = bytes_by_node(guest)
    return AWAY if where.get(HOME, 0) >= where.get(AWAY, 0) else HOME


def _lives(guest, boot):
    """Is it still the boot that it was?"""
    try:
        return guest.boot_id() == boot
    except (ChannelError, CommandFailed, TimeoutError):
        return False


def _tell_death(report, guest, name, why):
    report.line(f"{name}: the guest has died ({type(why).__name__}); its console said: {_last_words(guest)}")


def _last_words(guest):
    """What the guest's kernel died of, as far as its console tells."""
    lines = guest.console().strip().splitlines()
    found = [line for line in lines if re.search(r"BUG|Oops|panic|RIP:", line)]
    return " | ".join(line.strip() for line in (found or lines)[-2:]) or "nothing"


def _writes(guest):
    guest.pattern_start(WRITER_MIB, name="writer")


def _pause_of(bench, pauses, guest, name, action):
    """One measurement; where the guest dies of it, once more with a guest that was started anew. False: it died again."""
    for _ in range(2):
        if pauses.during(guest, name, action):
            return True
        guest.start_again()
        bench.settle(guest, BareLoop(bench.host, STALL_BATCH), HOME)
        _writes(guest)
    pauses.report.cannot(f"one pause under {name}", "the guest died of it twice")
    return False


def stall(bench):
    """the longest pause of a guest that writes all the time, while it is moved, by each tool"""
    host, report = bench.host, bench.report
    ours, pauses = Ours(bench.ballast), _Pauses(report)
    movers = [ours, MigratePages(host), BareLoop(host, STALL_BATCH)]
    report.line(f"{WRITER_MIB} MiB written all the time, of {STALL_MIB} MiB resident")
    guest = BenchGuest(host, "free1", STALL_MIB, prealloc=True, agent=False)
    with bench.guests(guest):
        bench.settle(guest, ours, HOME)
        _writes(guest)
        for _ in range(bench.rounds):
            _pause_of(bench, pauses, guest, "nobody", lambda: time.sleep(4))
            for mover in movers:
                _pause_of(bench, pauses, guest, mover.name, lambda m=mover: m.move(guest, _away(guest)))
        _numad(bench, pauses, guest)
    # libvirt moves only what its own cpuset holds, and only where it can take that back.
    guest = BenchGuest(host, "bound1", STALL_MIB, prealloc=True, nodes=str(HOME), mode="restrictive", agent=False)
    with bench.guests(guest):
        _writes(guest)
        again = Ours(bench.ballast, name="ballast, restrictive")
        for _ in range(max(2, bench.rounds - 1)):
            for mover in (Numatune(host), again):
                try:
                    _pause_of(bench, pauses, guest, mover.name, lambda m=mover: m.move(guest, _away(guest)))
                except CannotMove as why:
                    report.cannot(f"pause under {mover.name}", str(why))
    pauses.tell(ours.name, "nobody")


def _spread(bench, guest):
    """Leaves a part of the guest on each of the two nodes, by a move that is cancelled on its way."""
    ballast = bench.ballast
    ballast.ctl("move", guest.name, "--to", _away(guest), "--detach")
    identity = ballast.get("/v1/operations")["items"][0]["id"]
    try:
        wait_for(lambda: ballast.operation(identity)["progress"]["done_bytes"] > SPREAD_MIB * MIB, 120, "a part to be moved")
    finally:
        ballast.ctl("cancel", identity, check=False)
        ballast.wait_operation(identity)


def _numad(bench, pauses, guest):
    """numad acts on what is large, busy and spread over nodes."""
    report = bench.report
    if bench.host.run("command -v numad", check=False).rc != 0:
        report.cannot_without("numad", "numad")
        return
    try:
        _spread(bench, guest)
        _pause_of(bench, pauses, guest, "numad", lambda: Numad(guest.host).move(guest, None))
    except (CannotMove, TimeoutError) as why:
        report.cannot("numad", str(why))


def _fill_and_free(guest, mib):
    """Makes so much of the guest resident on the host, and free inside."""
    guest.pattern_start(mib, name="filler", once=True, timeout=180)
    guest.pattern_stop("filler")
    wait_for(lambda: guest.meminfo("MemFree") > mib * 0.9 * MIB, 20, "the filler's memory to be free again")


def half_free(bench):
    """a guest of whose resident memory half is free inside: the whole operation against the best peer"""
    host, report, rounds = bench.host, bench.report, max(1, bench.rounds - 2)
    peers = (BareLoop(host, 8192), MigratePages(host))
    # No peer hears what the guest feels; so that the times say the same, Ballast does not heed it here either.
    options = {"part": "operation", "name": "ballast"}
    report.line("by virtio-mem: what is free is unplugged, the rest moved, and plugged again (--allow shrink_guests)")
    unplugging = Ours(bench.ballast, "--allow", "shrink_guests", *UNHEEDED, **options)
    # Emulated, a page that the guest uses goes at a third of the rate of one that rests: read all the time, the half that
    # has to be moved is most of what the peers need as well.
    for use, held in (("at rest", {"still": True}), ("read all the time", {"once": True})):
        guest = BenchGuest(host, f"half-{use.split()[-1]}", FREE_BASE_MIB, virtio_mem=[VirtioMem(FREE_PLUGGED_MIB)])
        with bench.guests(guest):
            ratio, best = _half_free(bench, guest, held, unplugging, peers, rounds)
        report.target(f"half free, the other half {use}, by virtio-mem: the operation's time against the best peer's ({best})",
                      ratio, "at most 0.6", ratio <= 0.6)
    report.line("by free page reporting: the agent makes the guest report what is free before the move")
    guest = BenchGuest(host, "half2", FREE_BASE_MIB + FREE_PLUGGED_MIB, reporting=True)
    with bench.guests(guest):
        ratio, best = _half_free(bench, guest, {"still": True}, Ours(bench.ballast, *UNHEEDED, **options), peers, rounds)
    # No target: while a peer moves it the guest reports what is free by itself, and half of it is free no more.
    report.line(f"half free, by reporting: {ratio:.2f} of the best peer's time ({best}), which gains by it as well")


def _holds(bench, guest, held):
    """Half of it is in use, and all of it plugged."""
    guest.pattern_start(FREE_HELD_MIB, name="held", **held)
    if guest.virtio_mem and not guest.resize(FREE_PLUGGED_MIB):
        raise CannotMove("the guest did not grow")
    # What is held has been moved once, so that no mover finds it mapped for the guest and the next one does not.
    for node in (AWAY, HOME):
        bench.settle(guest, BareLoop(bench.host, 8192), node)


def _free_turn(bench, guest, held, mover):
    """One measurement; where the guest dies of it, by whatever hand, once more with a guest that was started anew."""
    for is_last in (False, True):
        boot = guest.boot_id()
        try:
            # The guest of a peer is as like as can be: filled and freed a moment ago.
            _fill_and_free(guest, FREE_FILL_MIB)
            return mover.move(guest, _away(guest))
        except (ChannelError, CommandFailed, TimeoutError, CannotMove) as why:
            if is_last or _lives(guest, boot):
                raise
            _tell_death(bench.report, guest, mover.name, why)
        guest.start_again()
        bench.ballast.wait_agent(guest.name)
        _holds(bench, guest, held)


def _half_free(bench, guest, held, ours, peers, rounds):
    """(the operation's time against the best peer's, which that is)."""
    report, found = bench.report, {}
    _holds(bench, guest, held)
    for _ in range(rounds):
        for mover in (ours, *peers):
            moved = _free_turn(bench, guest, held, mover)
            found.setdefault(mover.name, []).append(moved)
            report.line(describe(moved))
            if mover is ours:
                report.line("steps: " + ", ".join(f"{kind} {seconds:.2f} s" for kind, seconds in moved.parts.items()))
    verify = guest.pattern_verify if "still" in held else functools.partial(guest.pattern_rounds, 1)
    errors = verify(name="held", timeout=240)["errors"]
    report.target("pattern errors in what is held", errors, "0", errors == 0, digits=0)
    least = {name: min(moved.seconds for moved in done) for name, done in found.items()}
    best = min((name for name in least if name != ours.name), key=least.get)
    return least[ours.name] / least[best], best


def budget(bench):
    """the guest's own throughput while it moves at a fifth of the full rate, beside undisturbed"""
    host, report = bench.host, bench.report
    ours = Ours(bench.ballast)
    guest = BenchGuest(host, "budget1", BUDGET_MIB, prealloc=True, agent=False)
    with bench.guests(guest):
        bench.settle(guest, ours, HOME)
        guest.pattern_start(BUDGET_WRITER_MIB, name="writer")
        guest.pattern_rounds(1, name="writer")
        undisturbed, disturbed, unlimited = [], [], []
        for _ in range(bench.rounds):
            undisturbed.append(throughput(guest, lambda: time.sleep(UNDISTURBED_S))[0])
            # The full rate is that of this guest at its work: idle it moves many times as fast, and a fifth of that is
            # more than all that can be had here.
            pages, full = throughput(guest, lambda: ours.move(guest, _away(guest)))
            unlimited.append(pages)
            undisturbed.append(throughput(guest, lambda: time.sleep(UNDISTURBED_S))[0])
            # All of it, however long that takes: what the writer uses is a fifth of the guest, and of a part of the move
            # it may be half.
            slow = Ours(bench.ballast, "--budget", str(int(BUDGET_SHARE * full.rate * MIB)))
            target = _away(guest)
            pages, moved = throughput(guest, lambda s=slow, t=target: s.move(guest, t))
            disturbed.append(pages)
            report.line(f"full rate {full.rate:.1f} MiB/s: {unlimited[-1]:.0f} pages a second; at {moved.rate:.1f} MiB/s for "
                        f"{moved.seconds:.0f} s: {pages:.0f}; undisturbed {undisturbed[-2]:.0f} and {undisturbed[-1]:.0f}")
            report.line(describe(moved))
        guest.pattern_stop("writer")
    share = 100 * median(unlimited) / median(undisturbed)
    # What any mover comes to that works a fifth of the time, and does to the guest then what this one does at full rate.
    report.line(f"at the full rate: {share:.0f} % of undisturbed; a fifth of the time of that, and peace else, is "
                f"{(1 - BUDGET_SHARE) * 100 + BUDGET_SHARE * share:.0f} %")
    ratio = 100 * median(disturbed) / median(undisturbed)
    report.target("the guest's own throughput at a budget of 20 %, medians", ratio, "at least 90 % of undisturbed",
                  ratio >= 90, "%", 0)
