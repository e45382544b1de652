# SPDX-License-Identifier: Apache-2.0
"""What all sections stand on: the virtual host of a run, its guests, and one ballastd."""

import os
import sys
from contextlib import contextmanager

TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path[:0] = [TESTS, os.path.join(TESTS, "system")]

from ballast import SOCKET, Ballast  # noqa: E402, F401
from testbed import evidence  # noqa: E402
from testbed.guest import Guest, start_guests  # noqa: E402
from testbed.virtual_host import Node, VirtualHost  # noqa: E402

# Guests go to and fro between these two, which are large enough for the largest guest of section "cost".
HOME, AWAY = 1, 2
RESERVE = "128MiB"


# Kernels as the distribution makes them, where the testbed's are quick.
KERNEL = "init_on_alloc=1"


def virtual_host():
    return VirtualHost(nodes=[Node(2048), Node(6144), Node(6144), Node(0)], kernel_arguments=KERNEL)


class BenchGuest(Guest):
    """A guest as the testbed makes them, and:

    prealloc   all of its memory is resident from the start, so that nothing has to be filled from inside
    reporting  its balloon has free page reporting
    """

    def __init__(self, host, name, mib, prealloc=False, reporting=False, **more):
        super().__init__(host, name, mib, **{"kernel_arguments": KERNEL} | more)
        self.prealloc, self.reporting = prealloc, reporting

    def xml(self):
        text = super().xml()
        if self.prealloc:
            text = text.replace("</memoryBacking>", "<allocation mode='immediate'/></memoryBacking>")
        if self.reporting:
            text = text.replace("<memballoon model='virtio'/>", "<memballoon model='virtio' freePageReporting='on'/>")
        return text

    def start_again(self):
        """Another life, for one whose kernel has died."""
        self.destroy()
        self.host.guests.append(self)
        start_guests(self)


def throughput(guest, action):
    """(pages a second that the guest's writer verified and wrote while action() ran, what that returned)."""
    def look():
        status = guest.pattern_status("writer")
        return status["verified"], status["since_reset_us"]
    pages, moment = look()
    result = action()
    pages_then, moment_then = look()
    return (pages_then - pages) / ((moment_then - moment) / 1e6), result


class Bench:
    def __init__(self, host, report, rounds, scene=""):
        self.host, self.report, self.rounds, self.scene = host, report, rounds, scene
        self.ballast = None

    def start(self):
        """Starts ballastd, unless it runs."""
        if self.ballast and self.ballast.process.running:
            return
        self.ballast = Ballast(self.host, {"limits": {"reserve": RESERVE}})
        self.ballast.start()

    @contextmanager
    def guests(self, *guests):
        """Runs guests for as long as the block lasts, and waits for the agents of those that have one."""
        try:
            start_guests(*guests)
            with_agent = [guest.name for guest in guests if guest.agent is True]
            if with_agent:
                self.ballast.wait_agent(*with_agent)
            yield guests
        finally:
            for guest in guests:
                if self.host.running:
                    guest.destroy()

    def settle(self, guest, mover, node):
        """Brings the guest to a node, uncounted: whatever is slow only the first time has then been paid."""
        if any(n != node for n in evidence.guest_bytes_by_node(guest)):
            mover.move(guest, node)

    @contextmanager
    def pools(self, pages, *nodes):
        """Free huge pages of 2 MiB on these nodes."""
        try:
            for node in nodes:
                got = evidence.set_hugepages(self.host, node, pages)
                if got < pages:
                    raise MemoryError(f"node {node} has {got} huge pages instead of {pages}")
            yield
        finally:
            if self.host.running:
                for node in nodes:
                    evidence.set_hugepages(self.host, node, 0)
