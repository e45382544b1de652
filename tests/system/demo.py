#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Shows, on a virtual four-node host, guest memory that grows, moves, shrinks, and a DIMM that is pulled."""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import scenes  # noqa: E402
from ballast import SOCKET  # noqa: E402
from testbed.virtual_host import VirtualHost  # noqa: E402

TITLES = ("The host as ballastctl shows it",
          "Grow web1 by 1 GiB",
          "web1 and peer1 take a pool of free huge pages; then both shrink: plain libvirt first, then Ballast",
          "Move web1 from node 1 to node 2 while it writes",
          "Drain the DIMM under db1, and eject it")
CHANGES = ("resize", "move", "drain")


class Show:
    """Prints what happens, with a progress bar where there is a terminal."""

    def __init__(self):
        self._began = time.monotonic()
        self._terminal = sys.stdout.isatty()
        self.bold, self.plain = ("\033[1m", "\033[0m") if self._terminal else ("", "")

    def title(self, text):
        print(f"\n{self.bold}== {text}{self.plain}", flush=True)

    def say(self, text):
        for line in text.splitlines():
            print(f"   {line}", flush=True)

    def progress(self, operation):
        """One line that is drawn over; without a terminal nothing, for its end says it all."""
        done, total = (operation["progress"][key] for key in ("done_bytes", "total_bytes"))
        share = min(1.0, done / total) if total else 0.0
        step = next((s for s in reversed(operation["steps"]) if s["state"] == "running"), None)
        if self._terminal:
            print(f"\r\033[K   [{'#' * int(30 * share):<30}] {100 * share:3.0f} %  "
                  f"{step['kind'] + ' ' + step['target'] if step else operation['state']}", end="", flush=True)

    def progress_end(self):
        if self._terminal:
            print("\r\033[K", end="", flush=True)

    def seconds(self):
        return time.monotonic() - self._began


class DemoStage(scenes.Stage):
    """The stage of the stories, with every command and its progress shown."""

    def __init__(self, host, shower):
        super().__init__(host, shower.say)
        self.shower = shower

    def show(self, *words):
        shower = self.shower
        print(f"   {shower.bold}$ ballastctl {' '.join(map(str, words))}{shower.plain}", flush=True)
        if words[0] not in CHANGES or "--dry-run" in words:
            result = self.ballast.ctl(*words)
            shower.say(result.out.rstrip())
            return result
        process = self.host.spawn([self.ballast.program, *map(str, words)])
        while process.running:
            open_ones = [o for o in self.ballast.get("/v1/operations")["items"] if not o["ended_at"] and not o["parent"]]
            if open_ones:
                shower.progress(open_ones[0])
            time.sleep(0.4)
        result = process.wait()
        shower.progress_end()
        shower.say(result.out.rstrip())
        scenes.check_equal(result.rc, 0, f"exit code of ballastctl {words[0]}: {result.err}")
        return result


def demo(show, host):
    show.title(f"A host with four NUMA nodes and a DIMM on node 3 (booted in {host.boot_seconds:.0f} s), and three guests")
    stage = DemoStage(host, show)
    stage.start()
    for title, scene in zip(TITLES, scenes.SCENES):
        show.title(title)
        scene(stage)
        show.say(f"proved: {scene.__doc__.splitlines()[0]}")
    show.title("What was measured in this boot")
    for what, said in stage.numbers.items():
        show.say(f"{what}:\n    {said}")
    return stage


def keep(show, host):
    """Leaves the host running until a signal comes."""
    port = host.forward(SOCKET)
    show.title("The host goes on running. Ctrl-C ends it.")
    show.say(f"ballastd's socket is at http://127.0.0.1:{port}, on this machine only:\n"
             f"    curl http://127.0.0.1:{port}/v1/guests\n"
             f"    build/service/cli/ballastctl --url http://127.0.0.1:{port} guests\n"
             f"the host's console:  {host.directory}/console\n"
             f"files that both sides see:  {host.results}")
    while host.running:
        signal.sigtimedwait([], 1)


def main():
    if sys.argv[1:] not in ([], ["--keep"]):
        print("usage: ./demo [--keep]", file=sys.stderr)
        sys.exit(2)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    show = Show()
    host = VirtualHost()
    try:
        host.start()
        demo(show, host)
        show.title(f"Done in {show.seconds():.0f} s")
        if sys.argv[1:]:
            keep(show, host)
    except KeyboardInterrupt:
        print()
    except Exception:
        if host.directory:
            print(host.log_tails(), file=sys.stderr)
        raise
    finally:
        host.stop()


if __name__ == "__main__":
    main()
