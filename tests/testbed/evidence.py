# SPDX-License-Identifier: Apache-2.0
"""Facts about the virtual host and its guests that do not come from Ballast.

Kernel files inside the virtual host, libvirt's XML, and the hardware's own word (the QEMU process outside).
"""

import base64
import gzip
import re
import struct
from dataclasses import dataclass, field

from .virtual_host import BLOCK_FILES

PAGE_BYTES = 4096
# Of /proc/kpageflags (include/uapi/linux/kernel-page-flags.h).
SLAB, BUDDY, HUGE, NOPAGE, OFFLINE, PAGE_TABLE = (1 << bit for bit in (7, 10, 17, 20, 23, 26))


@dataclass
class Mapping:
    """A line of /proc/PID/numa_maps: one of a guest's RAM mappings. `bytes` by host node; `size`: of it all, 0: not known."""
    start: int
    policy: str
    file: str
    page_bytes: int
    bytes: dict = field(default_factory=dict)
    size: int = 0

    @property
    def total_bytes(self):
        return sum(self.bytes.values())


def _parse_numa_maps(text):
    found = []
    for line in text.splitlines():
        words = line.split()
        numbers = dict(word.split("=", 1) for word in words[2:] if "=" in word)
        page = int(numbers.get("kernelpagesize_kB", "4")) * 1024
        found.append(Mapping(int(words[0], 16), words[1], numbers.get("file", ""), page,
                             {int(key[1:]): int(value) * page for key, value in numbers.items()
                              if re.fullmatch(r"N\d+", key)}))
    return found


def numa_maps(host, pid):
    """Every mapping of a process inside the virtual host, as a list of Mapping."""
    return _parse_numa_maps(host.read(f"/proc/{pid}/numa_maps", timeout=120))


class Memory:
    """What the kernel says of a guest's RAM at one moment.

    mappings  its RAM mappings, a list of Mapping: base memory and virtio-mem, however backed
    nodes     {host node: bytes}; nodes with none are absent
    policies  the set of their policies: {"bind:1"}
    ranges    "START-END" of its RAM areas: neighbouring mappings of one file, or of none, are one
    largest   the largest of them
    """

    def __init__(self, guest):
        # One process for both files: starting a program is the expensive thing in the virtual host.
        maps, _, numa = guest.host.out(f"cd /proc/$(cat /run/libvirt/qemu/{guest.name}.pid) && cat maps && echo && "
                                       "cat numa_maps", timeout=120).partition("\n\n")
        sizes = {}
        for line in maps.splitlines():
            start, end = line.split()[0].split("-")
            sizes[int(start, 16)] = int(end, 16) - int(start, 16)
        wanted = {cell.mib << 20 for cell in guest.cells} | {device.mib << 20 for device in guest.virtio_mem}
        self.mappings, self.nodes, areas = [], {}, []
        for mapping in _parse_numa_maps(numa):
            named = "memory-backend-memfd" in mapping.file or "hugepages" in mapping.file or \
                "/libvirt/qemu" in mapping.file
            size = sizes.get(mapping.start, 0)
            # Anonymous RAM has no name. Only the RAM blocks have exactly these sizes, unless the kernel has joined
            # neighbours of one policy into one mapping, or split one block: then being very large is what tells.
            if not named and (mapping.file or (size not in wanted and size < 96 << 20)):
                continue
            mapping.size = size
            self.mappings.append(mapping)
            for node, bytes_there in mapping.bytes.items():
                if bytes_there:
                    self.nodes[node] = self.nodes.get(node, 0) + bytes_there
            if areas and areas[-1][1] == mapping.start and areas[-1][2] == mapping.file:
                areas[-1][1] += size
            else:
                areas.append([mapping.start, mapping.start + size, mapping.file])
        self.policies = {mapping.policy for mapping in self.mappings}
        self.ranges = [f"{start:x}-{end:x}" for start, end, _ in areas]
        self.largest = max(((end - start, f"{start:x}-{end:x}") for start, end, _ in areas), default=(0, ""))[1]

    @property
    def total_bytes(self):
        return sum(self.nodes.values())

    def off(self, *nodes):
        """Bytes that are on none of these nodes."""
        return sum(size for node, size in self.nodes.items() if node not in nodes)


def guest_mappings(guest):
    """The mappings of the guest's QEMU process that are guest RAM."""
    return Memory(guest).mappings


def guest_bytes_by_node(guest):
    """{host node: bytes of guest RAM there} by numa_maps; nodes with none are absent."""
    return Memory(guest).nodes


def guest_policies(guest):
    """The set of policies of the guest's RAM mappings: {"bind:1"}."""
    return Memory(guest).policies


def guest_frames(guest):
    """The frame numbers of the host of all pages of the guest's RAM that its page table shows, by /proc/PID/pagemap."""
    frames = []
    for text in Memory(guest).ranges:
        start, end = (int(word, 16) // PAGE_BYTES * 8 for word in text.split("-"))
        packed = guest.host.out(f"dd if=/proc/{guest.pid}/pagemap iflag=skip_bytes,count_bytes bs=64K skip={start} "
                                f"count={end - start} status=none | gzip -1 | base64", timeout=120)
        entries = gzip.decompress(base64.b64decode(packed))
        frames += [entry & ((1 << 55) - 1) for entry, in struct.iter_unpack("<Q", entries) if entry >> 63]
    return frames


def guest_bytes_in(guest, span):
    """How much of its RAM lies within (first, last) byte of the host's physical addresses."""
    return sum(span[0] <= frame * PAGE_BYTES <= span[1] for frame in guest_frames(guest)) * PAGE_BYTES


def _rollup(guest, key):
    line = guest.host.out(f"grep ^{key}: /proc/$(cat /run/libvirt/qemu/{guest.name}.pid)/smaps_rollup")
    return int(line.split()[1]) * 1024


def transparent_huge_bytes(guest):
    """How much of a guest's anonymous memory is in transparent huge pages; those that AutoNUMA has marked do not show."""
    return _rollup(guest, "AnonHugePages")


def swapped_bytes(guest):
    """How much of its RAM is in swap. Of a memfd that stands in no page table."""
    spans = [[int(word, 16) for word in text.split("-")] for text in Memory(guest).ranges]
    swapped, is_ram = 0, False
    for line in guest.host.out(f"grep -E '^([0-9a-f]+-|Swap:)' /proc/{guest.pid}/smaps").splitlines():
        words = line.split()
        if words[0] == "Swap:":
            swapped += int(words[1]) * 1024 * is_ram
        else:
            start = int(words[0].split("-")[0], 16)
            is_ram = any(first <= start < end for first, end in spans)
    return swapped


def cpusets(guest):
    """{cgroup path: cpuset.mems} of all cgroups of the guest's threads."""
    # One process for all files: starting a program is the expensive thing in the virtual host.
    text = guest.host.out("cat /proc/$(cat /run/libvirt/qemu/%s.pid)/task/*/cgroup | while IFS=: read -r _ _ group; do "
                          "mems=; read -r mems 2>/dev/null <\"/sys/fs/cgroup$group/cpuset.mems\"; "
                          "echo \"$group:$mems\"; done" % guest.name)
    return dict(line.rsplit(":", 1) for line in text.splitlines())


def thread_nodes_allowed(guest):
    """{thread name: Mems_allowed_list} of every thread of the guest's QEMU process."""
    text = guest.host.out(f"grep -hE '^(Name|Mems_allowed_list):' /proc/{guest.pid}/task/*/status")
    values = [line.split(":", 1)[1].strip() for line in text.splitlines()]
    return dict(zip(values[::2], values[1::2]))


def thread_cpus_allowed(host, pid, prefix=""):
    """{thread: set of CPUs that it may use} of the threads of a process whose names begin so."""
    text = host.out(f"grep -hE '^(Name|Pid|Cpus_allowed_list):' /proc/{pid}/task/*/status")
    values = [line.split(":", 1)[1].strip() for line in text.splitlines()]
    return {int(thread): set(numbers(cpus)) for name, thread, cpus in zip(values[::3], values[1::3], values[2::3])
            if name.startswith(prefix)}


def numbers(text):
    """Those of a list as the kernel writes it: "0-2,5"."""
    spans = [[int(word) for word in span.split("-")] for span in text.split(",") if span]
    return [number for span in spans for number in range(span[0], span[-1] + 1)]


def guest_block_flags(guest, block):
    """What a guest's own kernel says of each page of one of its memory blocks: the flags of /proc/kpageflags."""
    size = guest.block_bytes() // PAGE_BYTES * 8
    text = guest.out(f"dd if=/proc/kpageflags bs={size} skip={block} count=1 2>/dev/null | gzip -1 | base64")
    return struct.unpack(f"<{size // 8}Q", gzip.decompress(base64.b64decode(text)))


def blocks(host):
    """{block: {"state", "zones", "node"}} of all memory blocks of the virtual host."""
    text = host.out(f"{BLOCK_FILES}; ls -d memory*/node*")
    found = {}
    for line in text.splitlines():
        match = re.fullmatch(r"memory(\d+)/(state:|valid_zones:|node)(.*)", line)
        block = found.setdefault(int(match[1]), {"state": None, "zones": None, "node": None})
        if match[2] == "node":
            block["node"] = int(match[3])
        else:
            block["state" if match[2] == "state:" else "zones"] = match[3]
    return found


def dimm_states(host, dimm):
    """The states of a present DIMM's blocks: {"online"}, {"offline"}, or both."""
    every = blocks(host)
    return {every[number]["state"] for number in host.dimm_blocks(dimm) if number in every}


def lsmem(host):
    """[(first byte, last byte, state)] of lsmem; what is not there any more is not listed."""
    found = []
    for line in host.out("lsmem --bytes --noheadings -o RANGE,STATE").splitlines():
        words = line.split()
        if len(words) == 2:
            start, end = words[0].split("-")
            found.append((int(start, 16), int(end, 16), words[1]))
    return found


def dimm_range(host, dimm):
    """(first byte, last byte) of a DIMM in the host's physical addresses, by the hardware."""
    for device in host.qmp.execute("query-memory-devices"):
        data = device["data"]
        if data.get("id") == dimm:
            return data["addr"], data["addr"] + data["size"] - 1
    raise LookupError(f"no DIMM {dimm}")


def boot_memory(host):
    """Bytes that the host was started with, by the hardware: no memory device among them."""
    return host.qmp.execute("query-memory-size-summary")["base-memory"]


def lsmem_lists(host, span):
    """Whether lsmem lists any byte of (first, last)."""
    return any(start <= span[1] and span[0] <= end for start, end, _ in lsmem(host))


def dimm_present(host, dimm):
    """Whether the hardware still has it."""
    return any(device["data"].get("id") == dimm for device in host.qmp.execute("query-memory-devices"))


def wait_dimm_deleted(host, dimm, timeout=60):
    """Waits for the hardware's DEVICE_DELETED of a DIMM; returns the event."""
    return host.qmp.wait_event("DEVICE_DELETED", timeout, device=dimm)


def node_meminfo(host, node):
    """{"MemFree": bytes, ...} of a node."""
    found = {}
    for line in host.read(f"/sys/devices/system/node/node{node}/meminfo").splitlines():
        words = line.split()
        found[words[2].rstrip(":")] = int(words[3]) * (1024 if words[-1] == "kB" else 1)
    return found


def whole_pieces(host, node):
    """How many aligned pieces of 2 MiB are free on a node: what transparent huge pages can go to without a compaction."""
    lines = [line.split() for line in host.read("/proc/buddyinfo").splitlines()]
    # "Node 2, zone Normal" and the free pieces of each order, the 9th of 2 MiB and the 10th of 4.
    return sum(int(words[4 + 9]) + 2 * int(words[4 + 10]) for words in lines if words[1] == f"{node},")


def pools(host, size_kib=2048):
    """{node: (total, free)} of all nodes' pools of huge pages."""
    text = host.out("cd /sys/devices/system/node && grep -H '' "
                    f"node*/hugepages/hugepages-{size_kib}kB/nr_hugepages node*/hugepages/hugepages-{size_kib}kB/free_hugepages")
    found = {}
    for line in text.splitlines():
        match = re.match(r"node(\d+)/.*/(nr|free)_hugepages:(\d+)", line)
        found.setdefault(int(match[1]), {})[match[2]] = int(match[3])
    return {node: (counts["nr"], counts["free"]) for node, counts in found.items()}


def vmstat(host, *keys):
    """{key: count} of /proc/vmstat."""
    found = dict(line.split() for line in host.read("/proc/vmstat").splitlines())
    return {key: int(found[key]) for key in keys}


def hugepages(host, node, size_kib=2048):
    """(total, free) of a node's pool of huge pages."""
    base = f"/sys/devices/system/node/node{node}/hugepages/hugepages-{size_kib}kB"
    total, free = host.out(f"cat {base}/nr_hugepages {base}/free_hugepages").split()
    return int(total), int(free)


def set_hugepages(host, node, count, size_kib=2048):
    """Sets a node's pool; returns how many it got."""
    path = f"/sys/devices/system/node/node{node}/hugepages/hugepages-{size_kib}kB/nr_hugepages"
    host.write(path, str(count))
    return int(host.read(path))


def kernel_log(host, grep=""):
    """The lines of the virtual host's kernel log that contain `grep`."""
    return [line for line in host.out("dmesg").splitlines() if grep in line]


def mib_by_node(guest):
    """guest_bytes_by_node for people: "node 1: 512.0 MiB, node 2: 3.0 MiB"."""
    return ", ".join(f"node {node}: {size / 2**20:.1f} MiB" for node, size in sorted(guest_bytes_by_node(guest).items()))
