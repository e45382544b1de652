#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 15: a guest with a passed-through device: its memory is known as pinned beforehand, told, and never touched; what of it
is virtio-mem leaves by unplug and plug again."""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import ballast as ctl  # noqa: E402
from testbed import evidence, memory_peer  # noqa: E402
from testbed.guest import Cell, Guest, VirtioMem  # noqa: E402
from testbed.story import booted_host, check, check_at_least, check_at_most, check_equal, main, story, wait_for  # noqa: E402
from testbed.virtual_host import Node  # noqa: E402

MIB = 1 << 20
PLUGGED_MIB = 384
ALLOW = "stored_xml,remote_memory"
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


def portions(operation):
    """What a move has unplugged to plug it again, in MiB, one after the other."""
    return [step["done_bytes"] // MIB for step in operation["steps"]
            if step["kind"] == "request" and step["target"].endswith("(replug)")]


def plug_again(host, ballast, device, tell):
    """Of a guest that VFIO pins the virtio-mem on a node leaves it by portions; base memory does not."""
    guest = Guest(host, "plugged", cells=[Cell(256, host_nodes="1")], nodes="1,2", cpus="1",
                  virtio_mem=[VirtioMem(768, host_nodes="2")], extra_devices=device)
    guest.start()
    ballast.wait_agent("plugged")
    ballast.ctl("resize", "plugged", f"{256 + PLUGGED_MIB}MiB")
    ballast.ctl("policy", "plugged", "--allowed-nodes", "0,2")
    check_at_least(locked_bytes(guest), (256 + PLUGGED_MIB) * MIB, "bytes that VFIO has locked")
    guest.pattern_start(48, pace_us=2000)
    before, policies = evidence.guest_bytes_by_node(guest), evidence.guest_policies(guest)
    tell(f"plugged: {({node: n // MIB for node, n in before.items()})} MiB by node, {locked_bytes(guest) // MIB} MiB locked")
    check_at_least(before[2], PLUGGED_MIB * MIB, "bytes on node 2: pinned as soon as they are plugged")
    drain = ("drain", "--node", "2", "--finish", "empty", "--timeout", "300")

    # Base memory stays, and virtio-mem is asked for.
    answer = ballast.ctl("drain", "--node", "1", "--finish", "empty", "--allow", f"{ALLOW},shrink_guests", check=False)
    check_equal(answer.rc, ctl.REFUSED, f"exit code of a drain of its base memory: {answer}")
    check("vfio_pinned" in answer.out + answer.err, f"the reason: {answer}")
    plan = json.loads(ballast.ctl("--json", *drain, "--allow", ALLOW, "--dry-run", check=False).out)
    asked = [blocker for blocker in plan["blockers"] if blocker["code"] == "vfio_pinned"]
    check_equal({blocker["consent"] for blocker in asked}, {"shrink_guests"}, f"consents that lift it: {plan['blockers']}")
    check_at_least(asked[0]["bytes"], PLUGGED_MIB * MIB, "bytes that are to be unplugged and plugged again")
    check_equal(evidence.guest_bytes_by_node(guest).keys(), before.keys(), "nodes after the refusals")

    # With the consent all of it leaves.
    result = ballast.ctl_json(*drain, "--allow", f"{ALLOW},shrink_guests", timeout=360, check=False)
    check_equal(result["state"], "succeeded", f"the drain: {result['remainder']} {result['error']}")
    after = evidence.guest_bytes_by_node(guest)
    taken = portions(ballast.get("/v1/operations/" + next(step["operation"] for step in result["steps"]
                                                          if step["kind"] == "move")))
    tell(f"drained in {result['result']['seconds']} s: {({node: n // MIB for node, n in after.items()})} MiB by node, "
         f"by portions of {taken} MiB")
    check(2 not in after, f"nothing of it is on node 2: {after}")
    check_at_least(after[0], PLUGGED_MIB * MIB, "bytes on node 0")
    check_equal(sum(taken), PLUGGED_MIB, "MiB that were unplugged in all")
    check_at_most(max(taken), 128, "MiB that it lacked at a time")
    check_equal(guest.virtio_mem_sizes()[0]["current"], PLUGGED_MIB * MIB, "the guest's device after it")
    wait_for(lambda: guest.online_movable_bytes() == PLUGGED_MIB * MIB, 30, "the guest's blocks to be online")
    check_at_least(locked_bytes(guest), (256 + PLUGGED_MIB) * MIB, "bytes that VFIO has locked after it")
    check_equal(evidence.guest_policies(guest), {"bind:0", "bind:1"}, "policies after it")
    check_equal(guest.pattern_rounds(1)["errors"], 0, "pattern errors after it")

    # And home again, the same way.
    drain = ballast.get("/v1/drains")["items"][0]["id"]
    result = ballast.ctl_json("undrain", drain, "--timeout", "300", timeout=360, check=False)
    check_equal(result["state"], "succeeded", f"the undrain: {result['remainder']} {result['error']}")
    taken = portions(ballast.get("/v1/operations/" + next(step["operation"] for step in result["steps"]
                                                          if step["kind"] == "move")))
    after = evidence.guest_bytes_by_node(guest)
    tell(f"undrained in {result['result']['seconds']} s: {({node: n // MIB for node, n in after.items()})} MiB by node, "
         f"by portions of {taken} MiB")
    check_equal(after.keys(), before.keys(), "nodes after the undrain")
    check_at_least(after[2], PLUGGED_MIB * MIB, "bytes on node 2 after the undrain")
    check_equal(evidence.guest_policies(guest), policies, "policies after the undrain")
    check_equal(guest.virtio_mem_sizes()[0]["current"], PLUGGED_MIB * MIB, "the guest's device after the undrain")
    check_equal(guest.pattern_rounds(1)["errors"], 0, "pattern errors after the undrain")


@story(15, "a guest with a passed-through device is known as pinned, and only its virtio-mem leaves, by unplug and plug", limit_s=700)
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
        guest.destroy()
        plug_again(host, ballast, device, tell)


if __name__ == "__main__":
    main()
