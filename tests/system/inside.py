# SPDX-License-Identifier: Apache-2.0
"""What must be done in the virtual host without a moment lost: one process, in which no program has to be started first.

    process = start(host, WATCH, "/proc/1/status")    # WATCH may call post(), and says "ready" when it is
"""

from ballast import SOCKET
from testbed.virtual_host import wait_for

PRELUDE = f"""
import os, socket, sys, time

def post(path, body=""):
    \"\"\"Returns the status and the time of the answer.\"\"\"
    line = socket.socket(socket.AF_UNIX)
    line.connect("{SOCKET}")
    line.sendall(("POST %s HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Type: application/json\\r\\nConnection: close\\r\\n"
                  "Content-Length: %d\\r\\n\\r\\n%s" % (path, len(body), body)).encode())
    return line.recv(4096).decode().split()[1], time.time()
"""


def start(host, program, *arguments, timeout=30):
    """Starts a program in Python, and returns its Process as soon as it has said that it is ready."""
    process = host.spawn(["python3", "-c", PRELUDE + program, *map(str, arguments)])
    wait_for(lambda: "ready" in process.out or not process.running, timeout, "a program inside to be ready")
    return process
