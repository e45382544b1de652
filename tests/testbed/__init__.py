# SPDX-License-Identifier: Apache-2.0
"""The testbed: a real host with several NUMA nodes and DIMMs, with libvirt and guests, inside one QEMU process.

    from testbed.virtual_host import VirtualHost, Node, Dimm
    from testbed.guest import Guest, VirtioMem
    from testbed import evidence, story
"""
