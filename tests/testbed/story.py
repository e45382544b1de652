# SPDX-License-Identifier: Apache-2.0
"""Runs stories: things that must be true of the whole system, each told as one function.

    from testbed.story import story, main, check, check_equal, Skip

    @story(1, "the host is shown truly", limit_s=240)
    def host_is_shown(tell):
        with VirtualHost() as host:
            tell("booted")
            check_equal(host.out("cat /sys/devices/system/node/online"), "0-3", "nodes")

    if __name__ == "__main__":
        main()

A story passes if it returns, fails if it raises, is skipped if it raises Skip with a name that tests/skips lists.
A story that wants a host may take it from `booted_host()`, which is torn down with its logs shown on failure.
"""

import contextlib
import inspect
import json
import os
import re
import signal
import sys
import time
import traceback

from . import paths
from .channel import PATIENCE, CommandFailed
from .virtual_host import VirtualHost, wait_for  # noqa: F401  (wait_for: for the stories)

# ./check --long, or a story that was named: all its cases, also those that are left out of ./check for their time.
ALL_CASES = os.environ.get("BALLAST_ALL_CASES") == "1"

SANITIZER = re.compile(r"ERROR: \w+Sanitizer|runtime error: ")

_stories = []


class Skip(Exception):
    """Raise with a name listed in tests/skips."""


class StoryFailed(AssertionError):
    """Something that must hold does not."""


class _TimedOut(BaseException):
    """Not an Exception, so that nothing in a story swallows it."""


class MachineDied(Exception):
    """The virtual host's own kernel panicked, or a processor of it went into real mode, or a guest panicked, began anew or ended
    with nobody asking it to, or a vCPU of it went on at the host's address, or its QEMU never answered libvirt at its start, with
    no ballastd there, or the microVM of a check stood still. Under emulated nested paging (QEMU's TCG with SVM) they do so now and
    then, in the middle of anything that keeps them busy: such a story is run again, once, and the last lines of ./check say so."""


def story(number, name, limit_s=300):
    """Registers a story. The function may take one parameter, `tell`: a function that prints what is going on."""
    def register(function):
        _stories.append((number, name, limit_s, function))
        return function
    return register


def check(condition, what):
    """Fails the story, saying `what` should have held."""
    if not condition:
        raise StoryFailed(f"should hold: {what}")


def check_equal(actual, expected, what):
    if actual != expected:
        raise StoryFailed(f"{what}: is {actual!r}, should be {expected!r}")


def check_at_least(actual, least, what):
    if not actual >= least:
        raise StoryFailed(f"{what}: is {actual!r}, should be at least {least!r}")


def check_at_most(actual, most, what):
    if not actual <= most:
        raise StoryFailed(f"{what}: is {actual!r}, should be at most {most!r}")


class Cases:
    """Cases of one story that do not stand on each other: all are tried, and end() fails with what went wrong in any."""

    def __init__(self, tell):
        self.tell, self.failures = tell, []

    def run(self, function, *arguments):
        """True where it held."""
        try:
            function(*arguments)
            return True
        except (StoryFailed, CommandFailed, TimeoutError) as error:
            name = function.__name__
            self.failures.append(f"{name}: {error}")
            self.tell(f"{name} FAILED: {error}")
            return False

    def check_alive(self, guest):
        """Before a guest whose case failed is ended: where it had died by itself, that is what is wrong."""
        if words := guest.died():
            raise MachineDied(f"{words}: {self.failures[-1]}")

    def end(self):
        if self.failures:
            raise StoryFailed("; ".join(self.failures))


def _check_sanitizers(host):
    """What was built with sanitizers has said nothing. What was not cannot."""
    for name, text in host.logs():
        for line in text.splitlines():
            if SANITIZER.search(line):
                raise StoryFailed(f"{name}: {line.strip()}")


@contextlib.contextmanager
def booted_host(**arguments):
    """A running VirtualHost; when the story fails, the tails of its logs and its guests' consoles are printed."""
    host = VirtualHost(**arguments)
    host.start()
    try:
        yield host
        _check_sanitizers(host)
    except Skip:
        raise
    except (Exception, _TimedOut) as error:
        signal.alarm(0)
        print(host.log_tails(), flush=True)
        if registers := host.hung():
            print(f"--- the virtual host answers nothing; its processors\n{registers}", flush=True)
        guests = () if registers else host.guests
        for guest in guests:
            print(f"--- threads of {guest.name}, with their ticks\n{guest.threads()}", flush=True)
        words = host.died() or "; ".join(filter(None, (guest.died() for guest in guests)))
        if words:
            raise MachineDied(words) from error
        raise
    finally:
        host.stop()


def allowed_skips():
    """{name: reason} of tests/skips."""
    found = {}
    with open(os.path.join(paths.PROJECT, "tests", "skips"), encoding="utf-8") as f:
        for line in f:
            name, _, reason = line.strip().partition(" ")
            if name and not name.startswith("#"):
                found[name] = reason.strip()
    return found


def _run(number, name, limit_s, function, began):
    def tell(text):
        print(f"    {time.monotonic() - began:6.1f} s  {text}", flush=True)

    def on_alarm(*_):
        raise _TimedOut(f"took longer than its {limit_s} s")

    signal.signal(signal.SIGALRM, on_alarm)
    limit_s *= PATIENCE
    signal.alarm(limit_s)
    try:
        if inspect.signature(function).parameters:
            function(tell)
        else:
            function()
        return "passed", ""
    except Skip as skip:
        reason = allowed_skips().get(str(skip))
        if reason is None:
            return "failed", f"skipped as '{skip}', which tests/skips does not allow"
        return "skipped", f"{skip}: {reason}"
    except (Exception, _TimedOut) as error:
        signal.alarm(0)
        traceback.print_exc(file=sys.stdout)
        return "failed", f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)


def main(arguments=None):
    """Runs the registered stories (of these numbers, if any are given) and exits 1 if one failed.

    Prints "ok N name (s)", "not ok N name (s): reason", or "skip N name: reason". When BALLAST_SUMMARY names a file, a
    line of JSON for each story is added to it.
    """
    wanted = {int(word) for word in (sys.argv[1:] if arguments is None else arguments)}
    summary = os.environ.get("BALLAST_SUMMARY")
    failed = 0
    # An end by signal is an end by exception: hosts are stopped and their directories removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    for number, name, limit_s, function in sorted(_stories, key=lambda one: one[0]):
        if wanted and number not in wanted:
            continue
        print(f"--  {number} {name}", flush=True)
        began = time.monotonic()
        outcome, reason = _run(number, name, limit_s, function, began)
        seconds = time.monotonic() - began
        first = reason.splitlines()[0] if reason else ""
        print({"passed": f"ok {number} {name} ({seconds:.0f} s)",
               "failed": f"not ok {number} {name} ({seconds:.0f} s): {first}",
               "skipped": f"skip {number} {name}: {first}"}[outcome], flush=True)
        failed += outcome == "failed"
        if summary:
            with open(summary, "a", encoding="utf-8") as f:
                f.write(json.dumps({"story": number, "name": name, "outcome": outcome, "seconds": round(seconds, 1),
                                    "reason": reason}) + "\n")
    sys.exit(1 if failed else 0)
