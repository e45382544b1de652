#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 21: an agent by vsock: without a virtio-serial port, heard by its own host alone, and never taken for another guest's."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from ballast import Ballast  # noqa: E402
from testbed.guest import Guest, VirtioMem  # noqa: E402
from testbed.story import booted_host, check_equal, main, story, wait_for  # noqa: E402

PORT = 16972
# Connects and waits for a byte: an agent without a session asks whoever it hears to be greeted.
STRANGER = """
import socket, sys
peer = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
peer.settimeout(10)
if int(sys.argv[2]):
    peer.bind((socket.VMADDR_CID_ANY, int(sys.argv[2])))
peer.connect((int(sys.argv[1]), %d))
try:
    print("closed" if peer.recv(1) == b"" else "heard")
except ConnectionResetError:
    print("closed")
except TimeoutError:
    print("open")
""" % PORT


def vsock(cid=0):
    how = f"auto='no' address='{cid}'" if cid else "auto='yes'"
    return f"<vsock model='virtio'><cid {how}/></vsock>"


def cid_of(guest):
    return int(guest.live_xml().find("devices/vsock/cid").get("address"))


@story(21, "an agent by vsock: its host alone is heard, and a context id used again is another guest's", limit_s=600)
def by_vsock(tell):
    with booted_host(dimms=[]) as host:
        host.run("modprobe vhost_vsock")
        first = Guest(host, "vs1", 384, virtio_mem=[VirtioMem(256)], agent="vsock", extra_devices=vsock())
        first.start()
        ballast = Ballast(host, {"limits": {"reserve": "256MiB"}})
        ballast.start()
        ballast.wait_agent("vs1")
        cid = cid_of(first)
        tell(f"the agent of vs1 is ready at context id {cid}, without a channel in its XML")
        ballast.ctl("resize", "vs1", "640MiB", "--timeout", "120")
        check_equal(first.online_movable_bytes(), 256 << 20, "what vs1 itself says is online as movable")
        ballast.ctl("resize", "vs1", "384MiB", "--timeout", "180")
        check_equal(first.virtio_mem_sizes()[0]["current"], 0, "plugged after the shrink")
        tell("grown and shrunk with its help")
        host.write("/tmp/stranger.py", STRANGER)
        ballast.stop()
        for user, source in (("", 0), ("setpriv --reuid 65534 --clear-groups ", 0)):
            said = host.run(f"{user}python3 /tmp/stranger.py {cid} {source}", timeout=60).out.strip()
            check_equal(said, "closed", f"what a process without a privileged port gets ({user or 'root'})")
        said = host.run(f"python3 /tmp/stranger.py {cid} 700", timeout=60).out.strip()
        check_equal(said, "heard", "what a process with a privileged port gets")
        ballast.start()
        ballast.wait_agent("vs1")
        tell("strangers are hung up on, and the next ballastd is heard")
        first.destroy()
        second = Guest(host, "vs2", 384, agent="vsock", extra_devices=vsock(cid))
        second.start()
        ballast.wait_agent("vs2")
        check_equal(cid_of(second), cid, "the context id of vs2")
        names = {guest["name"]: guest["agent"]["state"] for guest in ballast.get("/v1/guests")["items"]}
        check_equal(names, {"vs2": "ready"}, "guests and their agents")
        second.run("killall ballast-agent; touch /run/no-agent", check=False)
        wait_for(lambda: ballast.guest("vs2")["agent"]["state"] != "ready", 60, "an agent that is gone to be noticed")
        second.run("rm /run/no-agent")
        ballast.wait_agent("vs2")
        tell(f"context id {cid} is vs2's now, and its agent came back after an end")


if __name__ == "__main__":
    main()
