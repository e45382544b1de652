#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 26: cpusets that a move widens and narrows: what the kernel makes of policies by it, and libvirt's way to do it."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import inside  # noqa: E402
from ballast import Ballast, REFUSED  # noqa: E402
from testbed import evidence  # noqa: E402
from testbed.guest import Cell, Guest, start_guests  # noqa: E402
from testbed.story import Cases, booted_host, check, check_equal, main, story  # noqa: E402

MIB = 1 << 20
# Of different sizes, by which their mappings are told apart.
CELLS_MIB = (192, 224)

# Cancels an operation with undo as soon as a cpuset is as given: what follows may be over in half a second.
CANCEL_AT_CPUSET = """
path, mems, file = sys.argv[1:]
print("ready", flush=True)
end = time.monotonic() + 180
while open(path).read().strip() != mems:
    if time.monotonic() > end:
        sys.exit("the cpuset has not become " + mems)
    time.sleep(0.002)
print(post("/v1/operations/%s/cancel" % open(file).read().strip(), '{"undo": true}')[0], flush=True)
"""


def by_cell(guest):
    """[(policy, nodes)] of each cell's memory."""
    found = {mapping.size // MIB: mapping for mapping in evidence.Memory(guest).mappings}
    check(all(mib in found for mib in CELLS_MIB), f"a mapping for each cell: {found}")
    return [(found[mib].policy, sorted(found[mib].bytes)) for mib in CELLS_MIB]


def shifted(ballast, guest, tell):
    """Cells bound to 1 and 3; with node 0 before them the kernel makes that 0 and 1, and nobody named 1 for the second."""
    before, cpusets = by_cell(guest), evidence.cpusets(guest)
    check_equal(before, [("bind:1", [1]), ("bind:3", [3])], "policies and nodes of the cells")
    for words in (("--dry-run",), ()):
        answer = ballast.ctl("move", guest.name, "--map", "1:0", *words, check=False)
        check_equal(answer.rc, REFUSED, f"exit code of move {' '.join(words)}: {answer}")
        check("policy_would_shift" in answer.out + answer.err, f"the reason: {answer}")
    plan = ballast.ctl_json("move", guest.name, "--map", "1:0", "--dry-run", check=False)
    check_equal([(b["code"], b["consent"]) for b in plan["blockers"]], [("policy_would_shift", "policy_shift")], "blockers")
    check_equal((by_cell(guest), evidence.cpusets(guest)), (before, cpusets), "policies, nodes and cpusets after the refusals")
    # Widening makes 0 and 1 of them. Of 0, 1 and 3 the second becomes 3 when 1 is taken away: what nobody moved is back.
    words = ("move", guest.name, "--map", "1:0", "--allow", "policy_shift")
    plan = ballast.ctl_json(*words, "--dry-run")
    check_equal((plan["blockers"], [step["kind"] for step in plan["steps"]]), ([], ["cpuset", "move", "cpuset"]),
                "blockers and steps with the consent")
    operation = ballast.ctl_json(*words, "--timeout", "240")
    check_equal((operation["state"], operation["remainder"]), ("succeeded", []), "how the move with the consent ended")
    told = [warning["detail"] for warning in operation["warnings"] if warning["code"] == "policy_would_shift"]
    check_equal(sorted(told), ["bind:1 became bind:0", "bind:1 became bind:3", "bind:3 became bind:1"],
                "what is told of the policies")
    check_equal(by_cell(guest), [("bind:0", [0]), ("bind:3", [3])], "policies and nodes of the cells afterwards")
    check_equal(set(evidence.cpusets(guest).values()), {"0,3"}, "cpusets afterwards")
    check_equal(ballast.guest(guest.name)["placement"]["policy"], {"mode": "mixed", "nodes": [0, 3], "loose": False},
                "the policy that Ballast shows")
    tell(f"refused, and with the consent: {told}")


def restrictive(ballast, guest, tell):
    """libvirt knows of the new nodes, and of the old ones again when a move is undone that had told it."""
    host = guest.host

    def numatune():
        words = dict(line.split(":") for line in host.virsh("numatune", guest.name).out.splitlines() if ":" in line)
        return {key.strip(): value.strip() for key, value in words.items()}

    before, cpusets = numatune(), evidence.cpusets(guest)
    check_equal(before, {"numa_mode": "restrictive", "numa_nodeset": "1"}, "numatune at the beginning")
    group = next(path for path in cpusets if path.endswith("/emulator"))
    canceller = inside.start(host, CANCEL_AT_CPUSET, f"/sys/fs/cgroup{group}/cpuset.mems", "2", "/tmp/identity")
    identity = ballast.ctl("move", guest.name, "--to", "2", "--timeout", "240", "--detach").out.strip()
    host.write("/tmp/identity", identity)
    said = canceller.wait(200)
    check(said.rc == 0 and "202" in said.out, f"the cancel: {said}")
    operation = ballast.wait_operation(identity)
    steps = [(step["kind"], step["state"]) for step in operation["steps"]]
    check_equal((operation["state"], operation["undo"]), ("cancelled", "done"), f"how it ended: {steps}")
    check_equal(dict(steps).get("numatune"), "undone", f"what became of the step: {steps}")
    check_equal(numatune(), before, "numatune after the undo")
    check_equal(evidence.cpusets(guest), cpusets, "cpusets after the undo")
    check_equal(sorted(evidence.Memory(guest).nodes), [1], "nodes after the undo")
    operation = ballast.ctl_json("move", guest.name, "--to", "2", "--timeout", "240")
    steps = [(step["kind"], step["state"]) for step in operation["steps"]]
    check_equal((operation["state"], operation["remainder"]), ("succeeded", []), f"how it ended: {steps}")
    check("numatune" in dict(steps), f"libvirt is told: {steps}")
    check_equal(numatune(), {"numa_mode": "restrictive", "numa_nodeset": "2"}, "numatune after the move")
    check_equal(set(evidence.cpusets(guest).values()), {"2"}, "cpusets after the move")
    check_equal(sorted(evidence.Memory(guest).nodes), [2], "nodes after the move")
    # What libvirt has been told once it can be told again.
    host.virsh("numatune", guest.name, "--nodeset", "1-2", "--live")
    check_equal(numatune()["numa_nodeset"], "1-2", "numatune after virsh has changed it")
    tell(f"numatune {before} -> 2, cancelled: as before; then moved: {steps}")


def stop_writer(guest):
    check_equal(guest.pattern_stop()["errors"], 0, f"pattern errors in {guest.name}")


@story(26, "a cpuset that would rewrite policies is refused or consented to, and libvirt's own is changed through it", limit_s=500)
def cpusets(tell):
    with booted_host() as host:
        host.write("/proc/sys/kernel/numa_balancing", "0")
        host.transparent_huge_pages("never", "never")
        cells = Guest(host, "cells", cells=[Cell(mib, host_nodes=node) for mib, node in zip(CELLS_MIB, "13")], nodes="1,3",
                      backing="anonymous", agent=False)
        free = Guest(host, "free", 192, nodes="1", mode="restrictive", agent=False)
        start_guests(cells, free)
        ballast = Ballast(host, {"limits": {"reserve": "64MiB"}})
        ballast.start()
        for guest in (cells, free):
            guest.pattern_start(32, pace_us=2000)
        tell("two guests write")
        cases = Cases(tell)
        for case, guest in ((shifted, cells), (restrictive, free)):
            cases.run(case, ballast, guest, tell)
            cases.run(stop_writer, guest)
        cases.end()


if __name__ == "__main__":
    main()
