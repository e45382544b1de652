#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 33: who holds a DIMM is told to the byte; a process that keeps a block is named, and lets go for a hook. What is said
of the DIMM's memory is told, or acted upon, as configured."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from ballast import SOCKET, Ballast  # noqa: E402
from testbed import evidence  # noqa: E402
from testbed.guest import Guest  # noqa: E402
from testbed.memory_peer import Keeper  # noqa: E402
from testbed.story import booted_host, check, check_at_least, check_at_most, check_equal, main, story, wait_for  # noqa: E402

MIB = 1 << 20
KEPT_MIB = 40
PINNED_KIB = 512
# What changes between two looks at a host that does next to nothing.
NOISE_BYTES = 4 * MIB


HOOKS = "/run/drain.d"
HOOK_LOG = "/run/hooks.log"


def add_hook(host, name, lines):
    host.run(f"mkdir -p -m 755 {HOOKS}")
    host.run(f"cat >{HOOKS}/{name} && chmod 755 {HOOKS}/{name}", stdin="#!/bin/sh\n" + "\n".join(lines) + "\n")


def summed(answer):
    """The answer, after its sum was checked: every byte is somebody's, free or offline."""
    told = sum(item["bytes"] for item in answer["items"])
    check_at_most(abs(told + answer["free_bytes"] + answer["offline_bytes"] - answer["size_bytes"]), NOISE_BYTES,
                  f"bytes that {answer} tells twice or not at all")
    return answer


def of(answer, code, word=""):
    return [item for item in answer["items"] if item["code"] == code and word in item["object"]]


def hints(host, ballast, guest, dimm, tell):
    """An alert is an event and stands beside the DIMM; a drain is begun once; errors that were not corrected need a consent."""
    start, _ = evidence.dimm_range(host, "dimm1")
    size = int(host.read("/sys/devices/system/memory/block_size_bytes"), 16)
    host.spawn(f"exec timeout 60 curl -sN --unix-socket {SOCKET} http://localhost/v1/events >/tmp/events")
    wait_for(lambda: "retry:" in host.read("/tmp/events"), 20, "the stream of events")
    said = ballast.ctl_json("hint", "--address", hex(start + 4096), "--risk", "low")
    check_equal((said["action"], said["hint"]["dimm"], said["operation"]), ("alert", dimm, None), "what a low risk has done")
    seen = ballast.get(f"/v1/dimms/{dimm}")["hint"]
    check_equal((seen["risk"], seen["count"], seen["physical_address"]), ("low", 1, start + 4096), "the hint beside the DIMM")
    wait_for(lambda: "event: dimm" in host.read("/tmp/events"), 20, "the event of the DIMM")
    check("says a hint: risk low" in ballast.log(), "the hint stands in the log")

    drains = len(ballast.get("/v1/drains")["items"])
    said = ballast.ctl_json("hint", "--dimm", dimm, "--risk", "high")
    check_equal((said["action"], said["refusal"]), ("drain", None), f"what a high risk has done: {said}")
    operation = ballast.wait_operation(said["operation"]["id"])
    check_equal(operation["state"], "succeeded", f"the drain that the hint has begun: {operation}")
    check(3 not in evidence.guest_bytes_by_node(guest), "no page of the guest is in the DIMM")
    again = ballast.ctl_json("hint", "--dimm", dimm, "--risk", "high")
    check_equal((again["action"], again["drain"]["id"]), ("drain", said["drain"]["id"]), "what the same hint has done then")
    check_equal(len(ballast.get("/v1/drains")["items"]), drains + 1, "drains")

    ballast.ctl("hint", "--address", hex(start), "--risk", "uncorrected")
    plan = ballast.ctl("drain", "--range", f"{start:x}-{start + size:x}", "--offline", "--dry-run", check=False)
    check("may_crash_host" in plan.out + plan.err, f"to copy what had errors needs a consent: {plan.out}{plan.err}")
    tell(f"    hints: an alert, a drain ({operation['id']}) that is begun once, and a consent that is asked for")


@story(33, "who holds a DIMM: guests, a process by its number, the kernel; and who keeps a block that refuses", limit_s=300)
def who_holds(tell):
    with booted_host() as host:
        guest = Guest(host, "db1", 128, nodes="3")
        guest.start()
        ballast = Ballast(host, {"limits": {"reserve": "256MiB", "block_timeout_ms": 1500},
                                 "daemon": {"hook_directory": HOOKS},
                                 "hints": {"high": "drain", "allow": "stored_xml remote_memory"}})
        ballast.start()
        dimm = next(d["id"] for d in ballast.get("/v1/dimms?fresh=true")["items"] if d["state"] == "online")
        keeper = Keeper(host, 3, KEPT_MIB, PINNED_KIB)

        answer = summed(ballast.ctl_json("holders", "--dimm", dimm))
        for item in answer["items"]:
            tell(f"    {item['bytes'] / MIB:.1f} MiB {item['code']} {item['object']}: {item['detail']}")
        check_equal(answer["size_bytes"], 1024 * MIB, "bytes of the DIMM")
        there = evidence.guest_bytes_by_node(guest)[3]
        check_at_most(abs(of(answer, "guest_memory", "db1")[0]["bytes"] - there), NOISE_BYTES,
                      "bytes of db1, told and by its page table")
        kept = of(answer, "host_process", f"process {keeper.pid} (memory_peer)")
        check_equal(len(kept), 1, f"entries of the process {keeper.pid}")
        check_at_most(abs(kept[0]["bytes"] - KEPT_MIB * MIB), MIB, "bytes of the process")
        check(Keeper.GROUP in kept[0]["detail"], f"its cgroup is told: {kept[0]}")
        counted = [line for line in host.read(f"/proc/{keeper.pid}/status").splitlines() if line.startswith("VmPin:")]
        check_equal(counted[0].split()[1:], [str(PINNED_KIB), "kB"], "what the kernel counts as pinned by the process")
        check_equal(kept[0]["pinned_bytes"], PINNED_KIB << 10, f"the most of it that is pinned: {kept[0]}")
        check_equal([of(answer, "guest_memory", "db1")[0]["pinned_bytes"]], [0], "pinned bytes of db1")
        check(not of(answer, "kernel_memory"), "no memory of the kernel's in movable blocks")

        # Told beforehand, of the process' own count; by the drain that goes no farther than guests not at all.
        for finish, entries in (("offline", 1), ("empty", 0)):
            plan = ballast.ctl_json("drain", "--dimm", dimm, "--finish", finish, "--allow", "stored_xml,remote_memory",
                                    "--dry-run")
            pinned = [w for w in plan["warnings"] if w["code"] == "pinned" and w["object"] == f"process {keeper.pid} (memory_peer)"]
            check_equal([w["bytes"] for w in pinned], [PINNED_KIB << 10] * entries, f"warned of by {finish}: {plan['warnings']}")

        drain = ballast.ctl_json("drain", "--dimm", dimm, "--offline", "--allow", "stored_xml,remote_memory",
                                 "--timeout", "90", timeout=150, check=False)
        for item in drain["remainder"]:
            tell(f"    {drain['state']}: {item['code']} {item['object']}: {item['detail']}")
        # By the page that the kernel's log names, or, where the kernel did not come to say it, by who has most of the block.
        who = f"process {keeper.pid} (memory_peer, {PINNED_KIB} KiB pinned) of cgroup {Keeper.GROUP}"
        named = [item for item in drain["remainder"] if who in item["detail"]]
        check_at_least(len(named), 1, f"blocks that are told to be kept by {who}: {drain['remainder']}")
        check(all(item["code"] in ("host_process", "block_busy") for item in named), f"codes of {named}")
        check(not [step for step in drain["steps"] if step["kind"] == "host_hooks"], "no hook, and no step for it")

        # The same process, and a hook that has it let go; another that fails stops nothing.
        add_hook(host, "10-keeper", [f'echo "$1 $BALLAST_NODES $BALLAST_DIMM $BALLAST_BYTES $BALLAST_OUTCOME" >>{HOOK_LOG}',
                                     f'[ "$1" = before ] && kill {keeper.pid} && sleep 1', "exit 0"])
        add_hook(host, "20-other", ['[ "$1" = before ] || exit 0', "echo it does not let go", "exit 3"])
        words = ("--dimm", dimm, "--offline", "--allow", "stored_xml,remote_memory")
        plan = ballast.ctl("drain", *words, "--dry-run").out
        tell(plan)
        check("10-keeper, 20-other" in plan, "a plan names the hooks")
        drain = ballast.ctl_json("drain", *words, "--timeout", "120", timeout=180)
        kinds = [step["kind"] for step in drain["steps"]]
        tell(f"    {drain['state']}: {' '.join(kinds)}; warnings: {drain['warnings']}")
        check(kinds.index("move") < kinds.index("host_hooks") < kinds.index("offline"),
              f"the hooks stand between the guest and the blocks: {kinds}")
        check_equal(kinds[-1], "host_hooks", "last step")
        check([w for w in drain["warnings"] if w["code"] == "hook_failed" and "it does not let go" in w["detail"]
               and "exit status 3" in w["detail"]], f"the hook that failed is told: {drain['warnings']}")
        for block in host.dimm_blocks("dimm1"):
            check_equal(host.read(f"/sys/devices/system/memory/memory{block}/state").strip(), "offline", f"block {block}")
        node = next(n for n in ballast.get("/v1/nodes?fresh=true")["items"] if n["id"] == 3)
        check_equal((node["state"], node["held"]), ("no_memory", True), "state of the node")
        check_equal(node["has_cpus"], bool(host.read("/sys/devices/system/node/node3/cpulist").strip()), "CPUs of the node")
        keeper.end()

        # Kernel memory: a block of its own zone, in which the kernel is made to allocate.
        for held in ballast.get("/v1/drains")["items"]:
            if held["state"] not in ("released", "stopped"):
                ballast.ctl("undrain", held["id"], timeout=120)
        told = [line.split() for line in host.read(HOOK_LOG).splitlines()]
        tell(f"    {told}")
        about = ["3", dimm, str(1024 * MIB)]
        check_equal(told, [["before"] + about, ["after"] + about + ["kept"], ["after"] + about + ["undone"]],
                    "what the hook was called with")
        block = host.dimm_blocks("dimm1")[-1]
        state = f"/sys/devices/system/memory/memory{block}/state"
        host.run(f"echo offline >{state} && echo online_kernel >{state}")
        host.run("mkdir /run/many && cd /run/many && numactl --membind=3 sh -c 'seq 8000 | xargs touch'")
        size = int(host.read("/sys/devices/system/memory/block_size_bytes"), 16)
        answer = summed(ballast.get(f"/v1/holders?start={block * size}&end={(block + 1) * size}&fresh=true"))
        for item in answer["items"]:
            tell(f"    {item['bytes'] / MIB:.1f} MiB {item['code']} {item['object']}: {item['detail']}")
        check_at_least(of(answer, "kernel_memory", "slab")[0]["bytes"], MIB, "bytes of slab in the kernel's block")
        check(not of(answer, "unknown_pages"), f"in a zone of the kernel nothing is of no kind: {answer['items']}")
        check_at_most(sum(item["bytes"] for item in of(answer, "kernel_memory")), size // 2, "bytes of the kernel there")
        plan = ballast.ctl("drain", "--dimm", dimm, "--offline", "--dry-run", check=False)
        check("kernel_memory" in plan.out + plan.err, f"the drain is refused for it: {plan.out}{plan.err}")
        hints(host, ballast, guest, dimm, tell)


if __name__ == "__main__":
    main()
