#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 43: a node is emptied of a guest that has one cell in a page of 1 GiB and another in pages of 2 MiB."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import drains  # noqa: E402
from ballast import REFUSED, Ballast  # noqa: E402
from testbed import evidence  # noqa: E402
from testbed.guest import Cell, Guest  # noqa: E402
from testbed.story import booted_host, check, check_equal, main, story  # noqa: E402
from testbed.virtual_host import Node  # noqa: E402

MIB = 1 << 20
GIGANTIC_KIB, HUGE_KIB = 1 << 20, 2 << 10
# Node 0 is nearer to node 1, and has no page of 1 GiB.
HOME, AWAY = 1, 2
CELL_MIB, SPARE_PAGES = 128, 8
PATTERN_MIB = 64


def sizes(guest):
    """{page size: bytes} of the guest's huge pages, by node."""
    found = {}
    for mapping in evidence.Memory(guest).mappings:
        for node, size in mapping.bytes.items():
            if mapping.page_bytes > 4096:
                pages = found.setdefault(node, {})
                pages[mapping.page_bytes] = pages.get(mapping.page_bytes, 0) + size
    return found


@story(43, "a node is emptied of a guest with huge pages of 1 GiB and of 2 MiB, and gets it back", limit_s=600)
def two_sizes(tell):
    nodes = [Node(2048), Node(3072), Node(3072), Node(0)]
    with booted_host(nodes=nodes, kernel_arguments="hugepagesz=1G hugepages=1:1,2:1 default_hugepagesz=2M") as host:
        for node in (HOME, AWAY):
            wanted = CELL_MIB // 2 + SPARE_PAGES
            check_equal(evidence.set_hugepages(host, node, wanted), wanted, f"huge pages on node {node}")
        ballast = Ballast(host, {"limits": {"reserve": "128MiB"}})
        cells = [Cell(1024, host_nodes=str(HOME), page_kib=GIGANTIC_KIB), Cell(CELL_MIB, host_nodes=str(HOME), page_kib=HUGE_KIB)]
        guest = Guest(host, "gig1", cells=cells, backing="memfd-hugepages", nodes=str(HOME), agent=False)
        guest.start()
        guest.pattern_start(PATTERN_MIB, pace_us=2000)
        ballast.start()
        before = drains.state_of_host(host, (), [guest])
        pools = {size: evidence.pools(host, size) for size in (GIGANTIC_KIB, HUGE_KIB)}
        expected = {GIGANTIC_KIB << 10: 1024 * MIB, HUGE_KIB << 10: CELL_MIB * MIB}
        check_equal(sizes(guest), {HOME: expected}, "huge pages of gig1 before")

        words = ("drain", "--node", HOME, "--finish", "empty", "--timeout", "240", "--allow", "stored_xml,remote_memory")
        answer = ballast.ctl(*words, check=False)
        check_equal(answer.rc, REFUSED, f"exit code without the consent to move pages of 1 GiB: {answer}")
        check("gigantic_pages" in answer.out + answer.err, f"the consent that it asks for: {answer}")
        check_equal(sizes(guest), {HOME: expected}, "huge pages of gig1 after the refusal")

        guest.pattern_reset_pause()
        result = ballast.ctl_json(*words[:-1], f"{words[-1]},gigantic_pages", timeout=300, check=False)
        check_equal(result["state"], "succeeded", f"the drain: {result['remainder']} {result['error']}")
        check_equal(sizes(guest), {AWAY: expected}, "huge pages of gig1 after the drain")
        check_equal(evidence.guest_bytes_by_node(guest).keys(), {AWAY}, "nodes of all of gig1's memory")
        status = guest.pattern_rounds(1)
        check_equal(status["errors"], 0, "pattern errors after the drain")
        tell(f"drained in {result['result']['seconds']} s, gig1's longest pause {status['longest_pause_us'] // 1000} ms; "
             f"1 GiB pages (total, free) by node: {pools[GIGANTIC_KIB]}, now {evidence.pools(host, GIGANTIC_KIB)}")

        check_equal(drains.give_back(ballast), "released", "state of the drain after the undrain")
        check_equal(sizes(guest), {HOME: expected}, "huge pages of gig1 after the undrain")
        check_equal(drains.state_of_host(host, (), [guest]), before, "the host after the undrain")
        for size, found in pools.items():
            check_equal(evidence.pools(host, size), found, f"pools of {size} KiB after the undrain")
        check_equal(guest.pattern_stop()["errors"], 0, "pattern errors after the undrain")
        tell("undrained: gig1 is back in the same pages, and the pools are as they were")


if __name__ == "__main__":
    main()
