#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 17: a move that is undone, of memory that lies in no order."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from ballast import Ballast  # noqa: E402
from testbed import memory_peer  # noqa: E402
from testbed.guest import Guest  # noqa: E402
from testbed.story import booted_host, check_at_least, check_equal, main, story, wait_for  # noqa: E402

MIB = 1 << 20


@story(17, "memory that lies page by page on two nodes is put back to the page by an undo", limit_s=500)
def undone(tell):
    with booted_host() as host:
        ballast = Ballast(host, {"limits": {"reserve": "128MiB"}})
        host.transparent_huge_pages("never", "never")
        host.write("/proc/sys/kernel/numa_balancing", "0")
        guest = Guest(host, "memfd", 256, agent=False)
        guest.start()
        ballast.start()
        guest.pattern_start(48, pace_us=2000)
        mapped = memory_peer.places(guest)
        check_equal(memory_peer.fill(guest, 24, 1)["filled"], 24 * MIB, "bytes put into holes of the memfd")
        memory_peer.scatter(guest, 1, 2)
        before = memory_peer.places(guest)
        only_file = [page for page, was in enumerate(mapped) if was == "." and before[page] != "."]
        for node in (1, 2):
            check_at_least(before.count(str(node)) * 4096, 16 * MIB, f"bytes on node {node}")
        identity = ballast.ctl("move", guest.name, "--to", 3, "--budget", "3MiB", "--timeout", "240",
                               "--detach").out.strip()

        def on_3():
            places = memory_peer.places(guest)
            return sum(places[page] == "3" for page in only_file)

        # These go last.
        wait_for(lambda: on_3() * 4096 >= MIB, 120, "pages that only the file has to move", 0.5)
        ballast.ctl("cancel", identity, "--undo", "yes", "--detach")
        operation = ballast.wait_operation(identity, 240)
        after = memory_peer.places(guest)
        wrong = sum(was != now for was, now in zip(before, after) if was != ".")
        check_equal((operation["state"], operation["undo"]), ("cancelled", "done"), f"how it ended: {operation['remainder']}")
        check_equal(wrong, 0, f"pages of {len(before) - before.count('.')} that are not where they were")
        check_equal(guest.pattern_rounds(1)["errors"], 0, "pattern errors")
        tell(f"{len(before) - before.count('.')} pages in no regular order on two nodes: cancelled, and each is where it was")


if __name__ == "__main__":
    main()
