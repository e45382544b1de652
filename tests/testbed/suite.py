#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every test there is and adds them up. Called by ./check, after it has built."""

import argparse
import concurrent.futures
import glob
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from testbed import paths  # noqa: E402
from testbed.story import allowed_skips  # noqa: E402

FUZZ_SECONDS = 120


class Totals:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures, self.repeated = [], []

    def add(self, passed=0, skipped=0, failures=()):
        self.passed += passed
        self.skipped += skipped
        self.failed += len(failures)
        self.failures += failures


def run_counted(name, command, timeout_s, environment=None, directory=None):
    """Runs a program that prints ok/not ok lines; returns (passed, failures, output).

    A program that fails without a "not ok" line is one failure; one that says nothing and succeeds is one pass.
    """
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=timeout_s, env=os.environ | (environment or {}), cwd=directory or paths.PROJECT)
        output, code = done.stdout.decode(errors="replace"), done.returncode
    except subprocess.TimeoutExpired as late:
        output, code = (late.stdout or b"").decode(errors="replace"), f"no end in {timeout_s} s"
    except OSError as error:
        output, code = "", str(error)
    passed = len(re.findall(r"^ok\b", output, re.M))
    failures = [f"{name}: {line}" for line in re.findall(r"^not ok\b *(.*)", output, re.M)]
    if code != 0 and not failures:
        failures.append(f"{name}: {'status ' if isinstance(code, int) else ''}{code}")
    elif code == 0 and not failures and not passed:
        passed = 1
    return passed, failures, output


def heading(text):
    print(f"\n== {text}", flush=True)


def report(totals, name, result, seconds):
    passed, failures, output = result
    totals.add(passed, failures=failures)
    print(f"{'not ok' if failures else 'ok'} {name}: {passed} passed, {len(failures)} failed ({seconds:.1f} s)")
    if failures:
        print("\n".join("    " + line for line in output.splitlines()[-60:]))
    sys.stdout.flush()


def timed(*arguments):
    began = time.monotonic()
    return run_counted(*arguments), time.monotonic() - began


def units(totals):
    """All tests that the build declares, where meson itself would run them; fuzz corpus replays are among them."""
    listed = json.loads(subprocess.run(["meson", "introspect", "--tests", paths.BUILD], check=True,
                                       stdout=subprocess.PIPE).stdout)
    fuzz = [test for test in listed if any("fuzz" in suite for suite in test["suite"])]
    for title, tests in (("unit tests", [test for test in listed if test not in fuzz]), ("fuzz corpora", fuzz)):
        if not tests:
            continue
        heading(title)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
            jobs = [(test, pool.submit(timed, test["name"], test["cmd"], max(120, 4 * test["timeout"]),
                                       test.get("env"), test.get("workdir") or paths.BUILD)) for test in tests]
            for test, job in jobs:
                report(totals, test["name"], *job.result())


def tools(totals):
    scripts = sorted(glob.glob(os.path.join(paths.PROJECT, "tests", "tools", "check_*.sh")))
    if scripts:
        heading("checks of the sources")
    for script in scripts:
        name = os.path.basename(script)
        report(totals, name, *timed(name, ["bash", script], 300))


def story_file(file):
    """Runs the stories of one file; returns (what became of each, failures in words)."""
    name = os.path.basename(file)
    with tempfile.NamedTemporaryFile(mode="r", prefix="ballast-summary.") as summary:
        process = subprocess.Popen([sys.executable, file], stdin=subprocess.DEVNULL, cwd=paths.PROJECT,
                                   env=os.environ | {"BALLAST_SUMMARY": summary.name, "PYTHONUNBUFFERED": "1"})
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        outcomes = [json.loads(line) for line in summary.read().splitlines()]
    failures = [f"story {one['story']} {one['name']}: {one['reason'].splitlines()[0]}" for one in outcomes
                if one["outcome"] == "failed"]
    if not failures and (code != 0 or not outcomes):
        failures.append(f"{name}: status {code}, {len(outcomes)} stories told")
        print(f"not ok {failures[-1]}", flush=True)
    return outcomes, failures


def story_files(pattern):
    return sorted(glob.glob(os.path.join(paths.PROJECT, "tests", "system", pattern)))


def stories(totals, wanted, is_long):
    """Each file in a process of its own, its output shown as it comes. Returns how many files there were."""
    files = story_files("story_*.py")
    if wanted or is_long:
        os.environ["BALLAST_ALL_CASES"] = "1"
        files += story_files("long_*.py")
    if wanted:
        files = [file for file in files if int(re.match(r"(?:story|long)_(\d+)", os.path.basename(file))[1]) in wanted]
    if files:
        heading("stories")
    for file in files:
        outcomes, failures = story_file(file)
        died = [one["reason"].splitlines()[0] for one in outcomes if one["reason"].startswith("MachineDied")]
        if died:
            print("== a kernel died under emulation (its words stand above): once more, from its boot", flush=True)
            totals.repeated.append(f"{os.path.basename(file)}: {'; '.join(died)}")
            outcomes, failures = story_file(file)
        totals.add(sum(one["outcome"] == "passed" for one in outcomes),
                   sum(one["outcome"] == "skipped" for one in outcomes), failures)
    return len(files)


def fuzz_long(totals):
    """Minutes of real fuzzing, in a build directory of its own."""
    heading("fuzzing")
    build = os.path.join(paths.PROJECT, "build-fuzz")
    commands = [] if os.path.exists(os.path.join(build, "build.ninja")) else \
        [["meson", "setup", build, "-Dfuzz=true", "-Db_sanitize=address,undefined", "-Db_lundef=false",
          "-Dc_args=-fsanitize=fuzzer-no-link"]]
    for command in commands + [["ninja", "-C", build]]:
        passed, failures, output = run_counted("fuzz build", command, 1800, {"CC": "clang"})
        if failures:
            report(totals, "fuzz build (needs the Debian package clang)", (0, failures, output), 0)
            return
    for program in sorted(glob.glob(os.path.join(build, "tests", "fuzz", "fuzz_*"))):
        name = os.path.basename(program)
        if not os.access(program, os.X_OK) or os.path.isdir(program):
            continue
        target = name.removeprefix("fuzz_")
        # Kept in the tree, or written by the build.
        seeds = glob.glob(os.path.join(paths.PROJECT, "tests", "fuzz", "corpus", target, "*")) or \
            glob.glob(os.path.join(build, "tests", "fuzz", target + "_*"))
        with tempfile.TemporaryDirectory(prefix="ballast-fuzz.") as found:
            command = [program, f"-max_total_time={FUZZ_SECONDS}", f"-artifact_prefix={build}/",
                       "-seed_inputs=" + ",".join(seeds), found]
            report(totals, name, *timed(name, command, FUZZ_SECONDS + 300))


def main():
    parser = argparse.ArgumentParser(prog="check")
    parser.add_argument("--unit", action="store_true", help="no stories")
    parser.add_argument("--story", default="", help="only these stories: N or N,M")
    parser.add_argument("--long", action="store_true", help="also what takes long")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    totals = Totals()
    began = time.monotonic()
    if wanted.story:
        numbers = {int(word) for word in wanted.story.split(",")}
        if stories(totals, numbers, False) == 0:
            totals.add(failures=[f"there is no story {wanted.story}"])
    else:
        units(totals)
        tools(totals)
        if not wanted.unit:
            stories(totals, None, wanted.long)
            allowed = len(allowed_skips())
            if totals.skipped != allowed:
                totals.add(failures=[f"{totals.skipped} skipped, but tests/skips lists {allowed}"])
        if wanted.long:
            fuzz_long(totals)
    if totals.failures:
        heading("what failed")
        print("\n".join(totals.failures))
    if totals.repeated:
        heading("run once more, because a kernel died under emulation")
        print("\n".join(totals.repeated))
    print(f"\n{time.monotonic() - began:.0f} s")
    print(f"{totals.passed} passed, {totals.failed} failed, {totals.skipped} skipped", flush=True)
    sys.exit(1 if totals.failed else 0)


if __name__ == "__main__":
    main()
