#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 15: a guest with a passed-through device: its memory is known as pinned beforehand, told, and never touched."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import ballast as ctl  # noqa: E402
from testbed import evidence, memory_peer  # noqa: E402
from testbed.guest import Guest  # noqa: E402
from testbed.story import booted_host, check, check_at_least, check_equal, main, story, wait_for  # noqa: E402
from testbed.virtual_host import Node  # noqa: E402

MIB = 1 << 20
# A network device of the virtual host's own behind its IOMMU. Everything of the host itself passes the IOMMU by.
IOMMU = ("-machine", "kernel-irqchip=split", "-device", "intel-iommu,caching-mode=on,intremap=on",
         "-device", "pcie-root-port,id=port1,chassis=1,slot=1", "-device", "e1000e,id=passed,bus=port1")
HOSTDEV = """<hostdev mode='subsystem' type='pci' managed='yes'>
<source><address domain='0x0000' bus='0x{bus}' slot='0x{slot}' function='0x{function}'/></source></hostdev>"""


def passed_device(host):
    """The PCI address of the device that is passed through."""
    path = host.out("grep -l 0x10d3 /sys/bus/pci/devices/*/device")
    address = os.path.basename(os.path.dirname(path))
    check(host.exists(f"/sys/bus/pci/devices/{address}/iommu_group"), f"{address} is behind an IOMMU")
    return address


def locked_bytes(guest):
    return int(guest.host.out(f"grep ^VmLck: /proc/{guest.pid}/status").split()[1]) * 1024


def vfio_descriptors(guest):
    return guest.host.out(f"ls -l /proc/{guest.pid}/fd | grep -Eo '/dev/vfio/[0-9]+'; true").splitlines()


def hold(ballast, guest, tell):
    """Refused with the bytes, in the dry run and for real, and nothing of it has been tried."""
    before = memory_peer.survey(guest)
    nodes, calls = evidence.Memory(guest).nodes, evidence.vmstat(guest.host, "pgmigrate_success", "pgmigrate_fail")
    check_equal(nodes.keys(), {1}, "nodes before")
    plan = ballast.ctl("move", guest.name, "--to", "2", "--dry-run", "--json", check=False)
    check_equal(plan.rc, ctl.REFUSED, f"exit code of the dry run: {plan}")
    answer = ballast.ctl("move", guest.name, "--to", "2", check=False)
    check_equal(answer.rc, ctl.REFUSED, f"exit code of the move: {answer}")
    for said in (plan, answer):
        check("vfio_pinned" in said.out + said.err, f"the reason: {said}")
    status, body = ballast.curl(f"/v1/guests/{guest.name}/placement", "PATCH", {"nodes": [2]})
    check_equal(status, 422, f"answer to the same by REST: {body}")
    told = sum(blocker["bytes"] for blocker in body["blockers"] if blocker["code"] == "vfio_pinned")
    resident = sum(nodes.values())
    check_at_least(told, resident - 4 * MIB, f"bytes told as pinned: {body}")
    check_equal(evidence.Memory(guest).nodes.keys(), {1}, "nodes after the refusals")
    check_equal(memory_peer.survey(guest)["absent"], before["absent"], "bytes that nobody has touched")
    check_equal(evidence.guest_policies(guest), {"bind:1"}, "policy after the refusals")
    check_equal(set(evidence.cpusets(guest).values()), {"1"}, "cpusets after the refusals")
    tell(f"refused: {told / MIB:.1f} MiB pinned by VFIO, as {resident / MIB:.1f} MiB are resident; page migrations of the "
         f"whole host {calls} before and {evidence.vmstat(guest.host, *calls)} after")


@story(15, "a guest with a passed-through device is known as pinned, told with its bytes, and left alone", limit_s=400)
def passthrough(tell):
    with booted_host(nodes=[Node(1536)] * 3, dimms=[], kernel_arguments="intel_iommu=on iommu=pt",
                     qemu_arguments=IOMMU) as host:
        host.write("/proc/sys/kernel/numa_balancing", "0")
        ballast = ctl.Ballast(host, {"limits": {"reserve": "128MiB"}})
        host.run("modprobe vfio-pci")
        address = passed_device(host)
        bus, slot, function = address.split(":")[1], *address.split(":")[2].split(".")
        device = HOSTDEV.format(bus=bus, slot=slot, function=function)
        guest = Guest(host, "passed", 256, nodes="1", cpus="1", agent=False, extra_devices=device)
        guest.start()
        ballast.start()
        check_at_least(len(vfio_descriptors(guest)), 1, "descriptors of VFIO in its QEMU")
        check_at_least(locked_bytes(guest), 256 * MIB, "bytes that VFIO has locked")
        tell(f"{address} is passed through: {vfio_descriptors(guest)}, {locked_bytes(guest) // MIB} MiB locked")
        guest.pattern_start(48, pace_us=2000)
        hold(ballast, guest, tell)
        check_equal(guest.pattern_rounds(1)["errors"], 0, "pattern errors")
        # Without the device it is a guest like any other.
        host.run(["virsh", "-q", "detach-device", guest.name, "/dev/stdin", "--live"], stdin=device)
        wait_for(lambda: not vfio_descriptors(guest), 60, "the device to leave the guest", 1)
        operation = ballast.ctl_json("move", guest.name, "--to", "2", "--timeout", "120", check=False)
        check_equal(operation.get("state"), "succeeded", f"state of the move without the device: {operation}")
        check_equal(sorted(evidence.Memory(guest).nodes), [2], "nodes after it")
        check_equal(guest.pattern_rounds(1)["errors"], 0, "pattern errors after it")
        tell("without the device it moved")


if __name__ == "__main__":
    main()
