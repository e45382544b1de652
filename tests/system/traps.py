# SPDX-License-Identifier: Apache-2.0
"""A guest that goes to and fro between two nodes while something stands in its way, and what is checked of each move."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from testbed import evidence  # noqa: E402
from testbed.story import check_equal  # noqa: E402


class Traps:
    """A guest on node 1 or 2 that goes to the other one, again and again."""

    def __init__(self, ballast, guest, tell):
        self.ballast, self.guest, self.host, self.tell = ballast, guest, guest.host, tell

    def away(self):
        """The node of the two on which it is not; if a case before this one left some there, it is gathered first."""
        nodes = evidence.Memory(self.guest).nodes
        home = 1 if nodes.get(1, 0) > nodes.get(2, 0) else 2
        if len(nodes) > 1:
            self.ballast.ctl("move", self.guest.name, "--to", home, "--timeout", "240", check=False)
        return 3 - home

    def move(self, node, *words):
        """Moves it, and returns the operation after the one check that is always made: no byte without a reason."""
        operation = self.ballast.ctl_json("move", self.guest.name, "--to", node, "--timeout", "240", *words, check=False)
        memory = evidence.Memory(self.guest)
        left = memory.off(node)
        told = sum(r["bytes"] for r in operation["remainder"] if r["code"] not in ("not_mapped", "swapped"))
        check_equal(told, left, f"bytes of the remainder and bytes off node {node} ({memory.nodes}): "
                                f"{operation['state']}, {operation['remainder']}")
        check_equal(operation["state"], "incomplete" if operation["remainder"] else "succeeded", "state of the move")
        return operation

    def move_all(self, node, *words):
        """Moves it and expects nothing left."""
        operation = self.move(node, *words)
        check_equal(operation["remainder"], [], f"remainder: {evidence.Memory(self.guest).nodes}")

    def pattern_is_whole(self):
        check_equal(self.guest.pattern_rounds(1)["errors"], 0, f"pattern errors in {self.guest.name}")


def bytes_by_code(operation):
    found = {}
    for remainder in operation["remainder"]:
        found[remainder["code"]] = found.get(remainder["code"], 0) + remainder["bytes"]
    return found
