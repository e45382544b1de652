#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Stories 1 to 5: the main job, in one boot."""

import atexit
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import scenes  # noqa: E402
from testbed.story import booted_host, check, main, story  # noqa: E402

# One boot serves all five; a scene whose predecessor failed has nothing to stand on and says so.
_shared = {"context": None, "stage": None, "done": 0}


def _run(number, tell):
    check(_shared["done"] == number - 1, f"story {number - 1} passed before it")
    if number == 1:
        _shared["context"] = booted_host()
        host = _shared["context"].__enter__()
        # Where not all five are asked for.
        atexit.register(_shared["context"].__exit__, None, None, None)
        _shared["stage"] = scenes.Stage(host, tell)
    stage = _shared["stage"]
    stage.tell = tell
    try:
        if number == 1:
            tell(f"host and libvirtd are up after {stage.host.boot_seconds:.1f} s")
            stage.start()
        scenes.SCENES[number - 1](stage)
    except BaseException:
        _shared["context"].__exit__(*sys.exc_info())
        raise
    _shared["done"] = number
    if number == len(scenes.SCENES):
        for what, said in stage.numbers.items():
            tell(f"{what}: {said}")
        _shared["context"].__exit__(None, None, None)


@story(1, "nodes, DIMMs and guests are shown truly", limit_s=300)
def see(tell):
    _run(1, tell)


@story(2, "a guest grows by 1 GiB: plugged, online, movable", limit_s=180)
def grow(tell):
    _run(2, tell)


@story(3, "a shrink goes through where plain libvirt gets stuck", limit_s=240)
def shrink(tell):
    _run(3, tell)


@story(4, "a guest moves from node 1 to node 2 under its writer, with AutoNUMA on", limit_s=300)
def move(tell):
    _run(4, tell)


@story(5, "a DIMM is drained and ejected under a strictly bound guest", limit_s=300)
def drain(tell):
    _run(5, tell)


if __name__ == "__main__":
    main()
