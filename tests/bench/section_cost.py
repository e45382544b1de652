# SPDX-License-Identifier: Apache-2.0
"""Sections about what a survey and a move cost, and how that grows with the guest."""

import glob
import json
import os
import re
import signal
import time

from bench import AWAY, HOME, SOCKET, BenchGuest
from movers import BareLoop, MigratePages, Ours, bytes_by_node, timed
from report import GIB, MIB
from testbed import evidence, paths

SIZES_MIB = (256, 1024)
# More would take longer than it says something new.
LARGEST_MIB = 3072
# What stays free of a node: the kernel's own, and QEMU's.
SPARE_MIB = 384
SURVEY_MIB = 1024


def survey(bench):
    """the survey's rate beside a bare sequential read of pagemap"""
    report = bench.report
    guest = BenchGuest(bench.host, "survey1", SURVEY_MIB, prealloc=True, nodes="", agent=False)
    try:
        program = paths.built("tests/bench/bench_survey_rate")
    except FileNotFoundError:
        report.cannot("survey against a bare read", "bench_survey_rate is not built")
        return
    with bench.guests(guest):
        done = json.loads(bench.host.run([program, str(guest.pid)], timeout=180).out)
        report.line(", ".join(f"{key} {value}" for key, value in done.items()))
        for key, value in done.items():
            report.number(key, value)
        for name, key in (("survey", "survey_us"), ("survey by units, as of a memory device,", "units_us")):
            ratio = 100 * done["bare_us"] / done[key]
            report.target(f"{name} against a bare sequential read of pagemap", ratio, "at least 90 %", ratio >= 90, "%", 0)


class _Trace:
    """strace of ballastd and of all workers that it starts: a file a thread."""

    def __init__(self, host):
        self.host = host
        self.inside, self.outside = f"{host.RESULTS}/trace", os.path.join(host.results, "trace")

    def during(self, pid, action):
        """Runs action() traced, and returns what it did: [(what, {call: count})] of each worker."""
        self.host.run(f"rm -rf {self.inside}; mkdir -p {self.inside}")
        tracer = self.host.spawn(f"exec strace -f -ff -s 300 -o {self.inside}/t -p {pid} 2>{self.inside}/log")
        time.sleep(2)
        try:
            result = action()
        finally:
            tracer.kill(signal.SIGINT)
            tracer.wait(30)
        return result, self._workers()

    def _workers(self):
        threads = {}
        for path in sorted(glob.glob(os.path.join(self.outside, "t.*")), key=os.path.getmtime):
            with open(path, errors="replace", encoding="utf-8") as f:
                threads[path.rpartition(".")[2]] = f.read()
        found = []
        for text in threads.values():
            kind = re.search(r'\\"kind\\":\\"(survey|step|before|undo)\\"', text)
            if "ballast-worker" not in text or not kind:
                continue
            step = re.search(r'\\"step\\":\{\\"kind\\":\\"(\w+)\\"', text)
            what = kind[1] + (f" {step[1]}" if step and kind[1] != "survey" else "")
            counts = {}
            own = re.findall(r"^clone3?\(.*CLONE_THREAD.*=> \{parent_tid=\[(\d+)\]|^clone3?\(.*CLONE_THREAD.* = (\d+)$", text,
                             re.M)
            for part in [text] + [threads.get(one or other, "") for one, other in own]:
                for name in re.findall(r"^(\w+)\(", part, re.M):
                    counts[name] = counts.get(name, 0) + 1
            found.append((what, counts))
        return found


def _counts_of(host, command):
    """How many system calls a command makes, by strace -c."""
    _, _, output = timed(host, f"strace -f -qq -c -o /run/testbed/counts {command} >/dev/null; "
                               "awk '$NF == \"total\" {print $(NF - 1), $(NF - 2)}' /run/testbed/counts")
    # The column of errors is there only where there were some.
    numbers = [int(word) for word in output.split() if word.isdigit()]
    return max(numbers, default=0)


def _sizes(host):
    free = min(evidence.node_meminfo(host, node)["MemFree"] for node in (HOME, AWAY)) // MIB - SPARE_MIB
    largest = min(free, LARGEST_MIB) // 256 * 256
    return [size for size in SIZES_MIB if size < largest] + [largest]


def cost(bench):
    """system calls of a survey and of a move, and how both grow with the guest"""
    host, report = bench.host, bench.report
    if host.run("command -v strace", check=False).rc != 0:
        report.cannot_without("system calls", "strace")
        return
    per_gib = {}
    for size in _sizes(host):
        guest = BenchGuest(host, f"cost{size}", size, prealloc=True, agent=False)
        with bench.guests(guest):
            _cost_of(bench, guest, per_gib)
    smallest, largest = min(per_gib), max(per_gib)
    for what in ("survey", "move"):
        few, many = per_gib[smallest][what], per_gib[largest][what]
        report.line(f"{what}: {many[0]} calls for {largest} MiB are {many[0] / few[0]:.2f} times those for {smallest} MiB; "
                    f"seconds a GiB: {few[1] / (smallest / 1024):.2f} and {many[1] / (largest / 1024):.2f}")
        report.number(f"{what}: growth of calls", many[0] / few[0], "", smallest_mib=smallest, largest_mib=largest)


def _cost_of(bench, guest, per_gib):
    host, report, ballast = bench.host, bench.report, bench.ballast
    ours = Ours(ballast)
    # Traced there, untraced back: tracing slows each call.
    traced, workers = _Trace(host).during(ballast.pid, lambda: ours.move(guest, AWAY))
    plain = ours.move(guest, HOME)
    looked, status, _ = timed(host, f"curl -s --unix-socket {SOCKET} "
                                    f"'http://localhost/v1/guests/{guest.name}?fresh=true' >/dev/null")
    size = sum(bytes_by_node(guest).values())
    report.line(f"{guest.name}: {size // MIB} MiB resident, moved {traced.bytes // MIB} MiB traced and "
                f"{plain.bytes // MIB} MiB in {plain.seconds:.2f} s untraced, a fresh look {looked:.2f} s (status {status})")
    totals, shown = {}, {}
    for what, counts in workers:
        totals.setdefault(what, []).append(sum(counts.values()))
        shown[what] = counts
    for what, counts in shown.items():
        total = min(totals[what])
        top = sorted(counts.items(), key=lambda one: -one[1])[:7]
        report.line(f"  {what:<20} {total:>6} calls, {total / (size / GIB):8.0f} a GiB: " +
                    ", ".join(f"{name} {count}" for name, count in top))
        report.number(f"{guest.name}: {what}", total, "system calls", resident_bytes=size, calls=dict(top))
    for peer in (MigratePages(host), BareLoop(host, 8192)):
        total = _counts_of(host, peer.command(guest, HOME, AWAY) if bytes_by_node(guest).get(HOME, 0) > size // 2
                           else peer.command(guest, AWAY, HOME))
        report.line(f"  {peer.name:<20} {total:>6} calls, {total / (size / GIB):8.0f} a GiB")
        report.number(f"{guest.name}: {peer.name}", total, "system calls", resident_bytes=size)
    moves = [sum(counts.values()) for what, counts in workers if what.startswith("step move")]
    per_gib[size // MIB] = {"survey": (min(totals.get("survey", [0])) or 1, looked),
                            "move": (sum(moves) or 1, plain.seconds)}
