#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 37: pages of a DIMM are under writeback to a device that does not answer: no signal ends an offline that waits for it."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import drains  # noqa: E402
import inside  # noqa: E402
from ballast import Ballast  # noqa: E402
from testbed import evidence  # noqa: E402
from testbed.guest import Guest, VirtioMem  # noqa: E402
from testbed.story import booted_host, check, check_equal, main, story, wait_for  # noqa: E402
from testbed.virtual_host import Dimm, Node  # noqa: E402

MIB = 1 << 20
NODE, DIMM_MIB, FILE_MIB, FILLER_MIB, BASE_MIB, GROWN_MIB = 2, 512, 4, 80, 256, 64
BLOCK_TIMEOUT_MS, TIMEOUT_S = 5000, 900
# A worker that is silent for half a minute beyond its block's time is killed, and has some seconds to end.
TOLD_WITHIN_S = 150
ALLOW = ("--allow", "stored_xml,remote_memory")

# Of /proc/kpageflags (include/uapi/linux/kernel-page-flags.h).
LRU, WRITEBACK, ANONYMOUS = 1 << 5, 1 << 8, 1 << 12
# Which of these blocks have a page with the first flag, and without the second.
FLAGGED = """
import struct, sys
size, has, lacks = int(open("/sys/devices/system/memory/block_size_bytes").read(), 16), int(sys.argv[1]), int(sys.argv[2])
with open("/proc/kpageflags", "rb") as flags:
    for block in sys.argv[3:]:
        flags.seek(int(block) * size // 4096 * 8)
        words = struct.unpack("<%dQ" % (size // 4096), flags.read(size // 4096 * 8))
        if any(word & has and not word & lacks for word in words):
            print(block)
"""
# Writes a file's dirty pages when a block is on its way offline: the kernel comes to them when it has moved what lies before.
WRITE_LATE = """
path, state = sys.argv[1], open("/sys/devices/system/memory/memory%s/state" % sys.argv[2])
fd = os.open(path, os.O_RDWR)
print("ready", flush=True)
while state.read() != "going-offline\\n":
    state.seek(0)
print("writes", flush=True)
os.fsync(fd)
"""
# Has so many MiB until it is told to end.
FILLER = """
import sys
memory = bytearray(int(sys.argv[1]) << 20)
memory[::4096] = b"x" * len(memory[::4096])
print("ready", flush=True)
sys.stdin.read()
"""


class SlowFile:
    """A file on a device that can be suspended."""

    PATH = "/run/slow/file"

    def __init__(self, host):
        self.host = host
        # Nothing is written but by who asks for it.
        host.run("echo 0 >/proc/sys/vm/dirty_writeback_centisecs; modprobe loop && modprobe dm_mod && "
                 "truncate -s 64M /run/disk && disk=$(losetup -f --show /run/disk) && "
                 "mkfs.ext4 -q -O ^has_journal $disk && export DM_DISABLE_UDEV=1 && "
                 "dmsetup create slow --table \"0 $(blockdev --getsz $disk) linear $disk 0\" && "
                 "mkdir /run/slow && mount /dev/mapper/slow /run/slow && "
                 f"dd if=/dev/zero of={self.PATH} bs=1M count={FILE_MIB} status=none")

    def suspend(self, node):
        """All of it is cached on the node, and dirty; and what is written does not end."""
        self.host.run(f"dd of={self.PATH} oflag=nocache conv=notrunc,fdatasync count=0 status=none && "
                      f"numactl --membind={node} dd if={self.PATH} of=/dev/null bs=1M status=none && "
                      f"dd if=/dev/zero of={self.PATH} bs=1M count={FILE_MIB} conv=notrunc status=none && "
                      "DM_DISABLE_UDEV=1 dmsetup suspend --noflush --nolockfs slow")

    def resume(self):
        self.host.run("DM_DISABLE_UDEV=1 dmsetup resume slow")


class Scene:
    """A DIMM that is all the memory of node 2, with pages of a file in it; db1 elsewhere."""

    def __init__(self, host, tell):
        self.host, self.tell = host, tell
        self.guest = Guest(host, "db1", BASE_MIB, nodes="1", virtio_mem=[VirtioMem(256)])
        self.guest.start()
        self.file = SlowFile(host)
        self.ballast = Ballast(host, {"limits": {"reserve": "128MiB", "block_timeout_ms": BLOCK_TIMEOUT_MS}})
        self.ballast.start()
        self.ballast.wait_agent("db1")
        self.dimm = drains.dimm_id(host, self.ballast, "dimm1")
        self.before = self.state()

    def state(self):
        return drains.state_of_host(self.host, ("dimm1",), [self.guest])

    def blocks(self, state):
        every = evidence.blocks(self.host)
        return {number for number in self.host.dimm_blocks("dimm1") if every[number]["state"] == state}

    def flagged(self, has, lacks=0):
        """The blocks of the DIMM in which a page has the one flag, and not the other."""
        words = ["python3", "-c", FLAGGED, has, lacks, *self.host.dimm_blocks("dimm1")]
        return {int(line) for line in self.host.run(words).out.split()}

    def fill(self):
        """A process with memory in the DIMM."""
        process = self.host.spawn(["numactl", f"--membind={NODE}", "python3", "-c", FILLER, FILLER_MIB], stdin=True)
        wait_for(lambda: "ready" in process.out or not process.running, 60, f"{FILLER_MIB} MiB on node {NODE}")
        return process

    def drain(self, *words):
        """Begins one; returns its operation."""
        return self.ballast.ctl("drain", "--dimm", self.dimm, "--offline", *ALLOW, "--timeout", TIMEOUT_S, *words,
                                "--detach").out.strip()

    def newest(self):
        return self.ballast.get("/v1/drains")["items"][0]

    def undrain(self):
        check_equal(drains.give_back(self.ballast), "released", "state of the drain after an undrain")
        check_equal(self.state(), self.before, "the host after the undrain")

    def drain_and_undrain(self):
        """All of it, now that nothing is in the way."""
        check_equal(self.ballast.wait_operation(self.drain(), 120)["state"], "succeeded", "state of a drain")
        check_equal(evidence.dimm_states(self.host, "dimm1"), {"offline"}, "states of the DIMM's blocks")
        self.undrain()

    def check_it_answers(self):
        """What does not need the kernel's hotplug goes on."""
        began = time.monotonic()
        for path in ("/v1/host", "/v1/nodes?fresh=true", "/v1/dimms?fresh=true", "/v1/blocks?fresh=true",
                     "/v1/guests?fresh=true", "/v1/operations", "/v1/drains"):
            self.ballast.get(path)
        self.ballast.ctl("resize", "db1", f"{BASE_MIB + GROWN_MIB}MiB", "--timeout", 60)
        check_equal(self.guest.virtio_mem_sizes()[0]["current"], GROWN_MIB * MIB, "bytes plugged into db1")
        self.ballast.ctl("resize", "db1", f"{BASE_MIB}MiB", "--timeout", 60)
        self.tell(f"    it has answered, and db1 has grown and shrunk, in {time.monotonic() - began:.0f} s")


def refused(scene):
    """What is under writeback for long is not tried."""
    scene.file.suspend(NODE)
    writer = scene.host.spawn(["sync", scene.file.PATH])
    written = wait_for(lambda: scene.flagged(WRITEBACK), 30, "pages under writeback in the DIMM")
    operation = scene.ballast.wait_operation(scene.drain("--on-timeout", "stop"), 120)
    scene.tell(f"    {operation['state']}: {operation['remainder']}")
    told = [item for item in operation["remainder"] if item["code"] == "writeback"]
    check_equal({item["object"] for item in told}, {f"block {number}" for number in written}, "blocks that are told of")
    check(all("not tried" in item["detail"] for item in told), f"they are not tried: {told}")
    check_equal((operation["state"], scene.blocks("online")), ("incomplete", written), "state, and the blocks that are online")
    scene.undrain()
    check_equal(writer.running, True, "the writer is still at it")
    scene.file.resume()
    writer.wait(60)
    scene.drain_and_undrain()
    scene.tell(f"refused beforehand: {len(told)} of {DIMM_MIB // 128} blocks; given back; and gone when it was written")


def stuck(scene):
    """The writeback begins when the block has been looked at for the last time."""
    filler = scene.fill()
    scene.file.suspend(NODE)
    block = max(scene.flagged(LRU, ANONYMOUS))
    writer = inside.start(scene.host, WRITE_LATE, scene.file.PATH, block)
    began = time.monotonic()
    identity = scene.drain()
    operation = scene.ballast.wait_operation(identity, TOLD_WITHIN_S)
    scene.tell(f"    {operation['state']} after {time.monotonic() - began:.0f} s: {operation['remainder']}")
    check("writes" in writer.out and writer.running, "the writer is at it")
    told = [item for item in operation["remainder"] if item["code"] == "kernel_stuck"]
    check(told and "hotplug of this host waits" in told[0]["detail"], f"it is told what hangs: {operation['remainder']}")
    check_equal((operation["state"], operation["error"]["code"], scene.newest()["state"]),
                ("failed", "kernel_stuck", "attention"), "states of the operation and the drain")
    worker = scene.ballast.workers()
    check_equal(len(worker), 1, "workers that outlive SIGKILL")
    check(f"worker {worker[0]}" in told[0]["object"], f"it is named: {told}")
    scene.check_it_answers()
    again = scene.ballast.ctl("undrain", scene.newest()["id"], check=False)
    check(identity in again.err and "stuck in the kernel" in again.err, f"nothing is tried beside it: {again}")

    scene.file.resume()
    writer.wait(60)
    wait_for(lambda: not scene.ballast.workers(), 60, "the worker to end")
    check_equal(evidence.blocks(scene.host)[block]["state"], "online", "state of the block that it was at")
    filler.close_stdin()
    scene.undrain()
    scene.drain_and_undrain()
    scene.tell("stuck: told, the rest of ballastd at work; ended with the device's answer, and given back")


@story(37, "writeback to a device that does not answer: blocks are refused beforehand, and a stuck one is told", limit_s=600)
def writeback(tell):
    with booted_host(nodes=[Node(2048), Node(1024), Node(0)], dimms=[Dimm("dimm1", NODE, DIMM_MIB)]) as host:
        scene = Scene(host, tell)
        refused(scene)
        stuck(scene)


if __name__ == "__main__":
    main()
