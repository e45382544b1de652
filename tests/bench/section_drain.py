# SPDX-License-Identifier: Apache-2.0
"""Drains of a DIMM under guests that write, beside `chmem -d` by hand; and how long the planner of drains takes."""

import json
import subprocess
import time
from dataclasses import dataclass

import drains
from bench import BenchGuest
from movers import CannotMove, step_seconds, timed
from report import MIB, median
from testbed import evidence, memory_peer, paths
from testbed.channel import ChannelError, CommandFailed
from testbed.virtual_host import Dimm

# The node whose memory is DIMMs alone.
NODE, DIMM_MIB = 3, 1024
GUEST_MIB, WRITER_MIB, PACE_US = 256, 64, 200
NAMES = ("first", "second")
PAGE_BYTES = 4096
DRAIN_S = 400
PLANNER_MS = 100


@dataclass
class Drained:
    """What came of taking the DIMM offline. bytes: of the guests in it before. forbidden: on nodes that their policy lacks."""
    tool: str
    seconds: float
    bytes: int
    copied: int
    forbidden: int
    pause_ms: float
    detail: str = ""

    def __str__(self):
        return (f"{self.tool:<9} {self.seconds:6.1f} s, {self.bytes / MIB:4.0f} MiB of guests in it, copied "
                f"{self.copied / self.bytes:.2f} times that, {self.forbidden / MIB:6.1f} MiB where their policy forbids it, "
                f"longest pause {self.pause_ms:7.1f} ms{self.detail}")


class Chmem:
    """The kernel's own way: one block after the other, and what is in them goes where the kernel likes."""
    name = "chmem -d"

    def __init__(self, bench):
        self.host = bench.host

    def drain(self):
        first, last = evidence.dimm_range(self.host, "dimm1")
        seconds, status, output = timed(self.host, f"chmem -d {first:#x}-{last:#x} 2>&1", DRAIN_S)
        if status != 0:
            raise CannotMove(f"{self.name}: status {status}: {output.strip()[-300:]}")
        return seconds, ""

    def back(self):
        self.host.online_dimm("dimm1")


class Ours:
    """ballastctl, the daemon and its workers, from the command's start to its end."""
    name = "ballast"

    def __init__(self, bench):
        self.host, self.ballast = bench.host, bench.ballast

    def drain(self):
        # So that no refresh of the look that was due anyway is counted.
        identity = drains.dimm_id(self.host, self.ballast, "dimm1")
        seconds, status, output = timed(self.host, f"{self.ballast.program} drain --dimm {identity} --offline --allow "
                                                   f"stored_xml,remote_memory --timeout {DRAIN_S} 2>&1", DRAIN_S + 20)
        if status != 0:
            raise CannotMove(f"ballastctl drain: status {status}: {output.strip()[-300:]}")
        operation = self.ballast.operation(self.ballast.get("/v1/drains")["items"][0]["operation"])
        parts = {}
        for step in operation["steps"]:
            if step.get("ended_at"):
                parts[step["kind"]] = parts.get(step["kind"], 0) + step_seconds(step)
        return seconds, (f" (operation {operation['result']['seconds']:.1f} s: " +
                         ", ".join(f"{kind} {took:.1f}" for kind, took in parts.items()) + ")")

    def back(self):
        newest = self.ballast.get("/v1/drains")["items"][:1]
        if newest and newest[0]["state"] not in ("released", "stopped"):
            state = drains.give_back(self.ballast)
            if state != "released":
                raise CannotMove(f"the undrain left the drain {state}")


def _forbidden(guest):
    """Bytes on nodes that the policy of their mapping does not name, as the kernel shows both."""
    total = 0
    for mapping in evidence.Memory(guest).mappings:
        mode, _, nodes = mapping.policy.partition(":")
        if mode.startswith("bind"):
            total += sum(size for node, size in mapping.bytes.items() if node not in evidence.numbers(nodes))
    return total


class Scene:
    """Guests that write, bound to the node, with all of their memory in its first DIMM.

    beside: whether the node has a second one, to which what is bound to the node can go.
    """

    def __init__(self, bench, beside):
        self.bench, self.host, self.beside = bench, bench.host, beside
        self.guests = [BenchGuest(bench.host, name, GUEST_MIB, nodes=str(NODE), prealloc=True) for name in NAMES]
        self.errors = 0

    def write(self, guest):
        guest.pattern_start(WRITER_MIB, name="writer", pace_us=PACE_US)

    def settle(self):
        """All of the guests in the first DIMM, uncounted."""
        drains.bring_into(self.host, self.guests, NODE, "dimm1", "dimm2" if self.beside else None)

    def measure(self, tool):
        span = evidence.dimm_range(self.host, "dimm1")
        inside = sum(memory_peer.within(guest, span) for guest in self.guests)
        for guest in self.guests:
            guest.pattern_rounds(1, name="writer")
            guest.pattern_reset_pause("writer")
        before = evidence.vmstat(self.host, "pgmigrate_success")["pgmigrate_success"]
        seconds, detail = tool.drain()
        copied = (evidence.vmstat(self.host, "pgmigrate_success")["pgmigrate_success"] - before) * PAGE_BYTES
        # A pause is known when it is over.
        time.sleep(0.5)
        states = [guest.pattern_status("writer") for guest in self.guests]
        if evidence.dimm_states(self.host, "dimm1") != {"offline"}:
            raise CannotMove(f"{tool.name} left blocks online")
        self.errors += sum(guest.pattern_rounds(1, name="writer")["errors"] for guest in self.guests)
        return Drained(tool.name, seconds, inside, copied, sum(map(_forbidden, self.guests)),
                       max(state["longest_pause_us"] for state in states) / 1000, detail)

    def once(self, tool):
        """One measurement, or None; where a guest dies of it, once more with one that was started anew."""
        report = self.bench.report
        for _ in range(2):
            try:
                self.settle()
                done = self.measure(tool)
                report.line(str(done))
                report.number(f"{tool.name}: one drain", done.seconds, "s", copied=done.copied, bytes=done.bytes,
                              forbidden=done.forbidden, pause_ms=done.pause_ms)
                return done
            except (ChannelError, CommandFailed, TimeoutError) as why:
                dead = [(guest, guest.died()) for guest in self.guests]
                if not any(words for _, words in dead):
                    raise
                report.line(f"{tool.name}: a guest has died ({type(why).__name__}): "
                            + "; ".join(words for _, words in dead if words))
            finally:
                tool.back()
            for guest, words in dead:
                if words:
                    guest.start_again()
                    self.write(guest)
        report.cannot(f"one drain by {tool.name}", "a guest died of it twice")
        return None


def _compare(bench, name, scene, bound):
    report = bench.report
    tools, found = [Chmem(bench), Ours(bench)], {}
    with bench.guests(*scene.guests):
        for guest in scene.guests:
            scene.write(guest)
        for _ in range(bench.rounds):
            for tool in tools:
                done = scene.once(tool)
                if done:
                    found.setdefault(tool.name, []).append(done)
    if len(found) < len(tools):
        report.cannot(f"{name}: all of it", "not both could be seen")
        return
    theirs, mine = found[Chmem.name], found[Ours.name]
    for done in (theirs, mine):
        seconds, pauses = [d.seconds for d in done], [d.pause_ms for d in done]
        report.line(f"{done[0].tool:<9} best {min(seconds):.1f} s, median {median(seconds):.1f} s; longest pause: median "
                    f"{median(pauses):.1f} ms; copied {median([d.copied / d.bytes for d in done]):.2f} times")
    ratio = min(d.seconds for d in mine) / min(d.seconds for d in theirs)
    report.target(f"{name}: time to offline against chmem -d, best of each", ratio, f"at most {bound}", ratio <= bound)
    worst = max(d.forbidden for d in mine)
    report.target(f"{name}: bytes where the guests' policy forbids them (chmem: {min(d.forbidden for d in theirs) / MIB:.0f} "
                  f"MiB of {min(d.bytes for d in theirs) / MIB:.0f})", worst, "0", worst == 0, digits=0)
    ratio = median([d.pause_ms for d in mine]) / median([d.pause_ms for d in theirs])
    report.target(f"{name}: longest pause of the guests' writers against chmem's, medians", ratio, "at most 0.5", ratio <= 0.5)
    twice = median([d.copied / d.bytes for d in mine])
    report.line(f"{name}: copied {twice:.2f} times what the guests had in the DIMM (chmem: "
                f"{median([d.copied / d.bytes for d in theirs]):.2f})")
    report.number(f"{name}: copied, times the guests' bytes", twice)
    report.target(f"{name}: pattern errors in all of it", scene.errors, "0", scene.errors == 0, digits=0)


def away(bench):
    """The node goes wholly: the guests go to another one."""
    _compare(bench, "to another node", Scene(bench, beside=False), 1.3)


def stays(bench):
    """One of the node's two DIMMs goes: the guests stay on their node."""
    bench.host.plug_dimm(Dimm("dimm2", NODE, DIMM_MIB))
    _compare(bench, "stays on its node", Scene(bench, beside=True), 2.2)


def planner(bench):
    """Placing the guests of a drain, on this machine itself."""
    report = bench.report
    lines = subprocess.run([paths.built("tests/bench/bench_place_rate")], check=True, stdout=subprocess.PIPE, text=True).stdout
    for one in map(json.loads, lines.splitlines()):
        ms = one["us"] / 1000
        report.line(f"planner, {one['guests']:5} guests {one['kinds']:<6} {ms:8.2f} ms")
        report.number(f"planner, {one['guests']} guests {one['kinds']}", ms, "ms")
        if one["guests"] == 10000:
            report.target(f"planner of drains, 10,000 guests {one['kinds']} on 16 nodes", ms, f"at most {PLANNER_MS} ms",
                          ms <= PLANNER_MS, "ms", 1)


SCENES = {"planner": planner, "to another node": away, "stays on its node": stays}


def drain(bench):
    """a DIMM taken offline under guests that write, beside chmem -d; and the planner's times"""
    for name, scene in SCENES.items():
        if bench.scene in name:
            scene(bench)
