#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 42: a host whose memory is all on one node: of its two DIMMs one is drained, and its guest has its pages in the rest."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import drains  # noqa: E402
from ballast import REFUSED, Ballast  # noqa: E402
from testbed import evidence  # noqa: E402
from testbed.guest import Guest  # noqa: E402
from testbed.story import booted_host, check, check_at_least, check_equal, main, story  # noqa: E402
from testbed.virtual_host import Dimm, Node  # noqa: E402

MIB = 1 << 20
GUEST_MIB, PATTERN_MIB = 256, 48


@story(42, "a DIMM of a host with one node is drained: the kernel moves what is in it within the node", limit_s=400)
def one_node(tell):
    with booted_host(nodes=[Node(1536, cpus=2)], dimms=[Dimm("dimm1", 0), Dimm("dimm2", 0)]) as host:
        span = evidence.dimm_range(host, "dimm2")
        host.run(f"chmem -d {span[0]:#x}-{span[1]:#x}", timeout=120)
        ballast = Ballast(host, {"limits": {"reserve": "128MiB"}})
        guest = Guest(host, "db1", GUEST_MIB, agent=False)
        guest.start()
        guest.pattern_start(PATTERN_MIB, pace_us=2000)
        host.online_dimm("dimm2")
        ballast.start()
        target = drains.dimm_id(host, ballast, "dimm1")
        before = drains.state_of_host(host, ("dimm1", "dimm2"), [guest])
        inside = evidence.guest_bytes_in(guest, evidence.dimm_range(host, "dimm1"))
        check_at_least(inside, PATTERN_MIB * MIB, "bytes of db1 in dimm1")

        # To be emptied while it stays online it has nowhere to go.
        answer = ballast.ctl("drain", "--dimm", target, "--finish", "empty", check=False)
        check_equal(answer.rc, REFUSED, f"exit code of a drain that only empties: {answer}")
        check("no_room" in answer.out + answer.err, f"the reason: {answer}")
        words = ("drain", "--dimm", target, "--finish", "eject", "--timeout", "200")
        plan = ballast.ctl_json(*words, "--dry-run")
        check_equal([step["kind"] for step in plan["steps"]], ["cordon", "offline", "eject"], "steps of the plan")
        check_at_least(max(warning["bytes"] for warning in plan["warnings"]), inside,
                       f"bytes that the kernel is said to move: {plan['warnings']}")
        result = ballast.ctl_json(*words, timeout=300, check=False)
        check_equal(result["state"], "succeeded", f"the drain: {result['remainder']} {result['error']}")
        check(not evidence.dimm_present(host, "dimm1"), "dimm1 has left the machine")
        check_at_least(evidence.guest_bytes_in(guest, evidence.dimm_range(host, "dimm2")), 1, "bytes of db1 in dimm2")
        after = drains.state_of_host(host, ("dimm2",), [guest])
        for what in ("nodes", "policies", "cpusets"):
            check_equal(after[what], before[what], f"{what} of db1 after the drain")
        check_equal(guest.pattern_rounds(1)["errors"], 0, "pattern errors after the drain")
        tell(f"drained in {result['result']['seconds']} s, {inside // MIB} MiB of db1 had been in it")

        host.plug_dimm(Dimm("dimm1", 0))
        check_equal(drains.give_back(ballast), "released", "state of the drain after the undrain")
        check_equal(evidence.dimm_states(host, "dimm1"), {"online"}, "states of the blocks of the DIMM that was plugged in")
        check_equal(guest.pattern_rounds(1)["errors"], 0, "pattern errors after the undrain")


if __name__ == "__main__":
    main()
