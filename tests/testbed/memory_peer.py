# SPDX-License-Identifier: Apache-2.0
"""Other processes of the virtual host that have a guest's memory: as evidence, and as a vhost-user back end has it.

    survey(guest)["swapped"]                  # what answers at once
    with Peer(guest, "pin", 4096):            # what lasts, here until the block ends
        ...
"""

import json

from . import evidence, paths
from .story import StoryFailed
from .virtual_host import wait_for


def _words(guest, what, arguments, ranges):
    return [paths.built("tests/testbed/memory_peer"), what, str(guest.pid), *map(str, arguments), *ranges]


def _ask(guest, what, *arguments, ranges=None, before=(), timeout=120):
    ranges = ranges or evidence.Memory(guest).ranges
    words = [*before, *_words(guest, what, arguments, ranges)]
    return json.loads(guest.host.run(words, timeout).out.splitlines()[-1])


def _by_node(said):
    return {int(node): size for node, size in said["nodes"].items()}


def survey(guest):
    """{"present", "marked", "swapped", "absent"} bytes of all of the guest's RAM, by its page table.

    marked: of the present, what move_pages(2) does not see, because AutoNUMA has taken its access away for a while.
    """
    return _ask(guest, "survey")


def within(guest, span):
    """Bytes of the guest's RAM that lie in the host's physical addresses from the first to the last of a span."""
    return _ask(guest, "within", *span)["within"]


def find(guest, seed, mib):
    """{node: bytes} of the pages of a pattern of the guest's, through a mapping of one's own. All must be there, whole."""
    said = _ask(guest, "find", seed, mib * 256)
    if said["lost"] or said["torn"] or said["unknown"]:
        raise StoryFailed(f"pages of the pattern {seed} in {guest.name}: {said}")
    return _by_node(said)


def file_nodes(guest):
    """{node: bytes} of all that the file behind the largest RAM area holds, whether QEMU has it mapped or not."""
    return _by_node(_ask(guest, "file", ranges=[evidence.Memory(guest).largest]))


def file_huge_bytes(guest):
    """How much of that is in transparent huge pages; a memfd's are huge without being mapped as such."""
    return _ask(guest, "file", ranges=[evidence.Memory(guest).largest])["huge"]


def places(guest):
    """The same page by page: a digit for the node of each, a dot for a hole."""
    return _ask(guest, "places", ranges=[evidence.Memory(guest).largest])["places"]


def scatter(guest, first, second):
    """Lays all that the file behind the largest RAM area holds, page by page and in no regular order, on two nodes."""
    return _ask(guest, "scatter", first, second, ranges=[evidence.Memory(guest).largest])["scattered"]


def fill(guest, mib, node):
    """Puts pages on a node into holes of the file behind the largest RAM area, as a process that is gone then."""
    return _ask(guest, "fill", mib, ranges=[evidence.Memory(guest).largest], before=("numactl", f"--membind={node}"))


def balance(guest, node):
    """Binds the largest RAM area to a node, but so that AutoNUMA looks at it: a memfd without a policy it leaves alone."""
    _ask(guest, "balance", node, ranges=[evidence.Memory(guest).largest])


class Peer:
    """One that lasts: ("read", seed, pages), ("pin", kib) or ("hold", kib).

    `began` and `said` are its first and its last words.
    """

    def __init__(self, guest, what, *arguments):
        memory = evidence.Memory(guest)
        ranges = memory.ranges if what == "read" else [memory.largest]
        self.process = guest.host.spawn(_words(guest, what, arguments, ranges), stdin=True)
        self.began = self.said = None
        try:
            wait_for(lambda: "\n" in self.process.out or not self.process.running, 60, f"memory_peer {what}")
            self.began = json.loads(self.process.out.splitlines()[0]) if "\n" in self.process.out else None
        finally:
            if self.began is None:
                self.process.kill()
        if self.began is None:
            raise RuntimeError(f"memory_peer {what}: {self.process.err}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        """Ends it and returns its last words."""
        if self.said is None:
            self.process.close_stdin()
            self.said = json.loads(self.process.wait(60).out.splitlines()[-1])
        return self.said


class Keeper:
    """A process of the host's own, in a cgroup of its own, with memory on a node. One MiB of it cannot leave.

    Some KiB more are pinned as the kernel counts that, which moves them to where such pages do no harm.
    """

    GROUP = "/holder"

    def __init__(self, host, node, mib, pinned_kib=0):
        program = paths.built("tests/testbed/memory_peer")
        # Pages are charged to the nearest group that the memory controller is on for.
        host.run(f"mkdir -p /sys/fs/cgroup{self.GROUP}; echo +memory >/sys/fs/cgroup/cgroup.subtree_control")
        self.process = host.spawn(f"echo $$ >/sys/fs/cgroup{self.GROUP}/cgroup.procs; exec {program} keep {node} {mib} "
                                  f"{pinned_kib}",
                                  stdin=True)
        wait_for(lambda: "\n" in self.process.out or not self.process.running, 60, "memory_peer keep")
        if "\n" not in self.process.out:
            raise StoryFailed(f"memory_peer keep: {self.process.err}")
        self.pid = int(host.out(f"cat /sys/fs/cgroup{self.GROUP}/cgroup.procs"))

    def end(self):
        self.process.close_stdin()
        self.process.wait(60)
