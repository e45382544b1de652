#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 13: pages that cannot go or must not be touched: pinned, swapped out, under a userfaultfd."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import ballast as ctl  # noqa: E402
from testbed import evidence, memory_peer  # noqa: E402
from testbed.guest import Guest  # noqa: E402
from testbed.story import (Cases, booted_host, check, check_at_least, check_equal, main, story,  # noqa: E402
                           wait_for)
from traps import Traps, bytes_by_code  # noqa: E402

MIB = 1 << 20


def pinned(traps):
    """io_uring buffers on the guest's memfd: known before the move, and to the byte after it."""
    node = traps.away()
    with memory_peer.Peer(traps.guest, "pin", 4096):
        plan = traps.ballast.ctl_json("move", traps.guest.name, "--to", node, "--dry-run", check=False)
        foreseen = sum(r["bytes"] for r in plan["forecast"] if r["code"] == "pinned")
        operation = traps.move(node)
        check_equal(bytes_by_code(operation), {"pinned": 4 * MIB}, "what stayed, and why")
        check_equal(foreseen, 4 * MIB, f"bytes that the plan had foreseen as pinned: {plan}")
        traps.pattern_is_whole()
    traps.move_all(node)
    traps.tell("4 MiB pinned by another process: foreseen, told to the byte, and moved when they were let go")


def swapped(traps):
    """Pages in swap are on no node: told, and on the new node when the guest touches them."""
    host, guest, node = traps.host, traps.guest, traps.away()
    host.run("modprobe zram && echo 256M >/sys/block/zram0/disksize && mkswap -q /dev/zram0 && swapon /dev/zram0")
    scope = host.out(f"sed -n 's/^0:://p' /proc/{guest.pid}/cgroup").removesuffix("/emulator")
    # It fails where it got less than all of it.
    said = host.run(f"echo 48M >/sys/fs/cgroup{scope}/memory.reclaim", timeout=120, check=False)
    out = evidence.swapped_bytes(guest)
    check_at_least(out, 8 * MIB, f"bytes of the guest in swap: {scope} {said}")
    operation = traps.move(node)
    told = bytes_by_code(operation).get("swapped", 0)
    still = evidence.swapped_bytes(guest)
    # The guest runs, and each touch brings one back.
    check(still <= told <= out, f"told as swapped: {told}, in swap before: {out}, and after: {still}")
    guest.pattern_rounds(1, timeout=240)
    host.run("swapoff /dev/zram0", timeout=240)
    check_equal(evidence.Memory(guest).off(node), 0, "bytes off the new node when all is back from swap")
    traps.pattern_is_whole()
    traps.tell(f"{out // MIB} MiB in swap: told, and on the new node when they came back")


def userfaultfd(traps):
    """QEMU takes a snapshot in the background: its memory is under a userfaultfd. Refused, and no page touched."""
    guest, host, node = traps.guest, traps.host, traps.away()

    def monitor(command):
        return host.virsh("qemu-monitor-command", guest.name, "--hmp", command).out

    check_equal(guest.pattern_stop()["errors"], 0, f"pattern errors in {guest.name}")
    monitor("migrate_set_capability background-snapshot on")
    # It is taken by somebody who never reads it, so it does not end by itself.
    sink = host.spawn(["python3", "-c", "import socket, time; s = socket.create_server(('127.0.0.1', 4444)); "
                       "print('ready', flush=True); c = s.accept(); time.sleep(600)"])
    wait_for(lambda: "ready" in sink.out, 30, "somebody to take the snapshot")
    monitor("migrate -d tcp:127.0.0.1:4444")
    wait_for(lambda: "userfaultfd" in host.out(f"ls -l /proc/{guest.pid}/fd"), 30, "QEMU to have a userfaultfd")
    before, absent = evidence.Memory(guest).nodes, memory_peer.survey(guest)["absent"]
    answer = traps.ballast.ctl("move", guest.name, "--to", node, "--timeout", "30", check=False)
    check_equal(answer.rc, ctl.REFUSED, f"exit code: {answer}")
    check("userfaultfd" in answer.out + answer.err, f"the reason: {answer}")
    check_equal(evidence.Memory(guest).nodes, before, "nodes after the refusal")
    # A little of it its guest may touch itself meanwhile.
    check_at_least(memory_peer.survey(guest)["absent"], absent - 2 * MIB, "bytes that nobody has touched")
    traps.tell("under a userfaultfd it is refused, and no page is touched")
    sink.kill()


@story(13, "pages that cannot go or must not be touched are foreseen, told to the byte, or refused", limit_s=600)
def held_pages(tell):
    with booted_host() as host:
        ballast = ctl.Ballast(host, {"limits": {"reserve": "128MiB"}})
        host.transparent_huge_pages("never", "never")
        guest = Guest(host, "memfd", 256, backing="memfd", cpus="1", agent=False)
        guest.start()
        host.write("/proc/sys/kernel/numa_balancing", "0")
        ballast.start()
        guest.pattern_start(48, pace_us=2000)
        cases = Cases(tell)
        for trap in (pinned, swapped, userfaultfd):
            cases.run(trap, Traps(ballast, guest, tell))
        cases.end()


if __name__ == "__main__":
    main()
