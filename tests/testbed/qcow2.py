# SPDX-License-Identifier: Apache-2.0
"""An empty disk image that can hold snapshots of a guest: what the test bed needs has no qemu-img."""

import struct

CLUSTER_BITS = 16
CLUSTER = 1 << CLUSTER_BITS


def empty(size_bytes):
    """The bytes of one, qcow2 version 3 (QEMU's docs/interop/qcow2.txt): header, refcounts, and a table of nothing yet.

    size_bytes: what the guest sees. What QEMU stores grows the image behind that.
    """
    refcount_table, refcount_block, l1_table, clusters = (number * CLUSTER for number in (1, 2, 3, 4))
    # One entry of the first table stands for as much as a whole table of the second has clusters.
    l1_entries = -(-size_bytes // (CLUSTER * CLUSTER // 8))
    header = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 3, 0, 0, CLUSTER_BITS, size_bytes, 0, l1_entries, l1_table,
                         refcount_table, 1, 0, 0)
    features, refcount_order, header_bytes = (0, 0, 0), 4, 104
    header += struct.pack(">QQQII", *features, refcount_order, header_bytes)
    parts = (header, struct.pack(">Q", refcount_block), struct.pack(">H", 1) * (clusters // CLUSTER), b"")
    return b"".join(part.ljust(CLUSTER, b"\0") for part in parts)
