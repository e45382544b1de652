#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 0: the testbed itself, with libvirt and kernel tools only. What it cannot do, Ballast cannot be tested for."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from testbed import evidence  # noqa: E402
from testbed.guest import Guest, VirtioMem, start_guests  # noqa: E402
from testbed.story import booted_host, check, check_at_least, check_equal, main, story, wait_for  # noqa: E402

MIB = 1 << 20


@story(0, "testbed: grow, move, shrink and eject with libvirt and kernel tools alone", limit_s=900)
def testbed(tell):
    with booted_host() as host:
        tell(f"host and libvirtd are up after {host.boot_seconds:.1f} s")
        check_equal(host.out("cat /sys/devices/system/node/online"), "0-3", "nodes")
        for node in (0, 1, 2):
            check_at_least(evidence.node_meminfo(host, node)["MemTotal"], 1800 * MIB, f"memory of node {node}")
        check_equal(evidence.node_meminfo(host, 3)["MemTotal"], 1024 * MIB, "memory of node 3, the DIMM's")
        dimm = evidence.dimm_range(host, "dimm1")
        check(evidence.lsmem_lists(host, dimm), "lsmem lists the DIMM")
        check_equal({evidence.blocks(host)[n]["zones"] for n in host.dimm_blocks("dimm1")}, {"Movable"},
                    "zones of the DIMM's blocks")

        guest = Guest(host, "grower", 512, nodes="1", virtio_mem=[VirtioMem(1024)])
        held = Guest(host, "on-the-dimm", 256, nodes="3")
        start_guests(guest, held)
        tell("two guests answer, one of them bound to the DIMM's node")
        check_equal(set(evidence.guest_bytes_by_node(guest)), {1}, "nodes of the first guest")
        check_equal(set(evidence.guest_bytes_by_node(held)), {3}, "nodes of the second guest")

        before = guest.meminfo()
        check(guest.resize(1024, timeout=90), "libvirt grows the guest by 1 GiB")
        wait_for(lambda: guest.online_movable_bytes() == 1024 * MIB, 60, "1 GiB online as movable in the guest")
        check_at_least(guest.meminfo() - before, 1000 * MIB, "memory gained, as the guest says")
        tell("grown by 1 GiB, online as movable, as the guest's own sysfs says")

        guest.pattern_start(96)
        held.pattern_start(48, pace_us=2000)
        tell("both guests write patterns")
        guest.pattern_reset_pause()
        host.run(["migratepages", guest.pid, "1", "2"], timeout=120)
        moved = evidence.guest_bytes_by_node(guest)
        check_at_least(moved.get(2, 0), 96 * MIB, "bytes on node 2 after migratepages")
        check_at_least(64 * MIB, moved.get(1, 0), "bytes left on node 1 by migratepages")
        status = guest.pattern_rounds(2)
        check_equal(status["errors"], 0, "pattern errors in the moved guest")
        tell(f"moved with migratepages: {evidence.mib_by_node(guest)}; "
             f"longest pause of the writer {status['longest_pause_us'] / 1000:.0f} ms")

        check_equal(guest.pattern_stop()["errors"], 0, "pattern errors at the end")
        check(guest.resize(0, timeout=120), "libvirt shrinks the guest by 1 GiB")
        check_equal(guest.online_movable_bytes(), 0, "movable memory left in the guest")
        tell("shrunk by 1 GiB")

        device = host.acpi_device("dimm1")
        for block in host.dimm_blocks("dimm1"):
            host.write(f"/sys/devices/system/memory/memory{block}/state", "offline", timeout=120)
        check_equal(evidence.dimm_states(host, "dimm1"), {"offline"}, "states of the DIMM's blocks")
        check(3 not in evidence.guest_bytes_by_node(held), "nothing of the bound guest is left on node 3")
        tell(f"the DIMM is offline; its guest is now on {evidence.mib_by_node(held)}")
        host.write(f"{device}/eject", "1")
        evidence.wait_dimm_deleted(host, "dimm1")
        check(not evidence.dimm_present(host, "dimm1"), "the hardware has no DIMM any more")
        check(not evidence.lsmem_lists(host, dimm), "lsmem does not list the DIMM any more")
        check_equal(held.pattern_rounds(1)["errors"], 0, "pattern errors in the guest that was on the DIMM")
        tell("ejected; QEMU outside says DEVICE_DELETED; the guest that was on it lost nothing")


if __name__ == "__main__":
    main()
