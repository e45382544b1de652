# SPDX-License-Identifier: Apache-2.0
"""Sections about the daemon and the agent at rest, and about the API."""

import json
import os
import re
import subprocess
import time

from bench import SOCKET, BenchGuest
from report import MIB
from testbed import paths

SETTLE_S, IDLE_S = 30, 60
REQUESTS = 500


def _pair(bench):
    return bench.guests(BenchGuest(bench.host, "idle1", 320), BenchGuest(bench.host, "idle2", 256))


def _switches(run, pid):
    """One look: {thread: (name, switches)} and how many tasks were ever made there."""
    text = run(f"for t in /proc/{pid}/task/*; do echo $t; cat $t/comm; grep ctxt $t/status; done; "
               "grep processes /proc/stat").out
    threads = {}
    for number, name, one, two in re.findall(r"/task/(\d+)\n(.*)\n\S+\s+(\d+)\n\S+\s+(\d+)", text):
        threads[number] = (name, int(one) + int(two))
    return threads, int(re.search(r"processes (\d+)", text)[1])


def woken_without_host(bench, guest):
    """Of its agent, a second; ballastd is stopped meanwhile."""
    pid = guest.read("/run/agent.pid").strip()
    bench.ballast.stop()
    time.sleep(SETTLE_S)
    before, _ = _switches(guest.run, pid)
    time.sleep(IDLE_S)
    after, _ = _switches(guest.run, pid)
    bench.ballast.start()
    bench.ballast.wait_agent(guest.name)
    return sum(count - before.get(number, ("", 0))[1] for number, (_, count) in after.items()) / IDLE_S


def idle(bench):
    """ballastd and ballast-agent with two idle guests: memory and wake-ups"""
    host, report, pid = bench.host, bench.report, bench.ballast.pid
    with _pair(bench) as (guest, _):
        agent_pid = guest.read("/run/agent.pid").strip()
        time.sleep(SETTLE_S)
        agent_before, _ = _switches(guest.run, agent_pid)
        before, tasks_before = _switches(host.run, pid)
        time.sleep(IDLE_S)
        after, tasks_after = _switches(host.run, pid)
        agent_after, _ = _switches(guest.run, agent_pid)
        woken = {name: count - before.get(number, (name, 0))[1] for number, (name, count) in after.items()}
        report.line("switches of ballastd's threads: " + ", ".join(f"{name} {n}" for name, n in woken.items() if n))
        rollup = host.read(f"/proc/{pid}/smaps_rollup")
        anonymous = int(re.search(r"^Anonymous:\s+(\d+)", rollup, re.M)[1]) / 1024
        resident = int(re.search(r"^Rss:\s+(\d+)", rollup, re.M)[1]) / 1024
        rate = sum(woken.values()) / IDLE_S
        report.target("ballastd, wake-ups a second", rate, "under 1", rate < 1)
        report.target("ballastd, anonymous memory", anonymous, "at most 6 MiB", anonymous <= 6, "MiB")
        report.line(f"ballastd, resident: {resident:.1f} MiB, most of it libraries; threads: {len(after)}")
        # The look itself makes a shell, and a cat and a grep for each thread.
        made = tasks_after - tasks_before - 2 * len(after) - 2
        report.line(f"processes and threads made on the whole host meanwhile: at most {made}")
        status = guest.read(f"/proc/{agent_pid}/status")
        resident = int(re.search(r"^VmRSS:\s+(\d+)", status, re.M)[1]) / 1024
        own = int(re.search(r"^RssAnon:\s+(\d+)", status, re.M)[1]) / 1024
        report.target("agent, resident memory", resident, "at most 2 MiB", resident <= 2, "MiB")
        rate = sum(count - agent_before.get(number, ("", 0))[1] for number, (_, count) in agent_after.items()) / IDLE_S
        size = os.path.getsize(guest.agent_binary) / MIB
        report.line(f"agent: of that anonymous {own:.2f} MiB; binary {size:.2f} MiB as built")
        # One heartbeat in 5 s, which wakes it twice: when it is due, and when the host has taken it, for the port's interrupt
        # wakes its waiters. One more is for what the host asks.
        report.target("agent, wake-ups a second", rate, "at most 0.6", rate <= 0.6)
        rate = woken_without_host(bench, guest)
        report.target("agent without a host, wake-ups a second", rate, "at most 0.1", rate <= 0.1)


def http(bench):
    """GET /v1/guests with two guests: inside, emulated, and the API alone on this machine"""
    report, client = bench.report, paths.built("tests/bench/bench_http_get")
    ways = (("each", "a connection for each"), ("keep", "one connection"))
    with _pair(bench):
        for how, what in ways:
            done = json.loads(bench.host.out([client, SOCKET, "/v1/guests", str(REQUESTS), how]))
            report.line(f"inside, emulated: {what}: least {done['least_us'] / 1000:.2f} ms, {done['bytes']} bytes")
            report.target(f"GET /v1/guests emulated, {what}, median of {REQUESTS}", done["median_us"] / 1000, "under 2 ms",
                          done["median_us"] < 2000, "ms")
    with subprocess.Popen([paths.built("tests/bench/bench_api_alone")], stdout=subprocess.PIPE, text=True) as server:
        try:
            socket = server.stdout.readline().strip()
            for how, what in ways:
                done = json.loads(subprocess.run([client, socket, "/v1/guests", str(REQUESTS), how], check=True,
                                                 stdout=subprocess.PIPE).stdout)
                report.target(f"the API alone on this machine, {what}, median of {REQUESTS}", done["median_us"] / 1000,
                              "under 2 ms", done["median_us"] < 2000, "ms", 3)
        finally:
            server.terminate()
            server.stdout.read()
