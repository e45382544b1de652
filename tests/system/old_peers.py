# SPDX-License-Identifier: Apache-2.0
"""A host and a guest of which one is older than the other, as two cases of story 8: what works, and what is said of the rest.

The guest's own agent, and the daemon, hear of each other through old_peer, which lets pass only what that version had. So
each of both has to do with an old one.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import ballast as codes  # noqa: E402
from testbed import paths  # noqa: E402
from testbed.guest import AGENT_PORT  # noqa: E402
from testbed.story import check, check_at_least, check_equal, wait_for  # noqa: E402

MIB = 1 << 20
BASE_MIB, WHOLE_MIB = 384, 1408
SOCKET = "/run/old_peer"
# What an agent of 1.0 could have, and what each of 1.1 has.
FEATURES = {"offline", "huge_pages", "compact", "online_policy", "unplug_online", "stall_probe", "report_free"}
LATER = {"word", "work_share", "wish", "repair"}


class OldPeer:
    """Between the daemon and the agent of guest g1, until the end of the block."""

    def __init__(self, scene, version):
        self.scene, self.guest, self.version = scene, scene.good, version
        self.between = None
        with open(os.path.join(paths.BUILD, "tests/system/old_peer"), "rb") as f:
            self.guest.run("cat >/bin/old_peer && chmod 755 /bin/old_peer", stdin=f.read())

    def agent(self):
        return self.scene.ballast.guest("g1")["agent"]

    def is_so(self, state, later):
        """The agent's state, and whether it has what came with 1.1: what an agent was before it was met through this is over."""
        def is_told():
            agent = self.agent()
            return agent["state"] == state and LATER.isdisjoint(agent["features"]) != later
        wait_for(is_told, 90, f"g1's agent to be {state} with a peer of {self.version}", 1)

    def __enter__(self):
        self.guest.run("touch /run/no-agent; pid=$(cat /run/agent.pid); kill $pid; while [ -e /proc/$pid ]; do sleep 0.2; done")
        self.between = self.guest.spawn(f"ballast-agent --port {SOCKET} >>/run/agent.log 2>&1 & echo $! >/run/old_peer.agent; "
                                        f"exec old_peer /dev/virtio-ports/{AGENT_PORT} {SOCKET} {self.version}")
        return self

    def __exit__(self, kind, *_):
        # It ends with its agent.
        self.guest.run("kill $(cat /run/old_peer.agent)")
        result = self.between.wait(60)
        self.guest.run("rm /run/no-agent")
        if kind is None:
            self.is_so("ready", True)
            check_equal((result.rc, result.out), (0, ""), "what was said that the other had told it does not know")


def kinds(operation):
    return {step["kind"] for step in operation["steps"]}


def shrink(scene, *words, check_rc=True):
    return scene.ballast.ctl_json("resize", "g1", f"{BASE_MIB}MiB", *words, check=check_rc)


def grow(scene):
    scene.ballast.ctl("resize", "g1", f"{WHOLE_MIB}MiB", "--timeout", 90)
    wait_for(lambda: scene.good.online_movable_bytes() == (WHOLE_MIB - BASE_MIB) * MIB, 60, "all of it to be online in g1", 1)


def plugged(scene):
    return scene.good.virtio_mem_sizes()[0]["current"]


def ancient_version(scene):
    """Nothing in common: said with both versions and the way out, and the guest is as one without an agent."""
    ballast, guest = scene.ballast, scene.good
    with OldPeer(scene, "0.9") as peer:
        wait_for(lambda: peer.agent()["state"] == "incompatible", 90, "g1's agent to be incompatible", 1)
        agent = peer.agent()
        check(agent["incompatible_reason"].startswith("it speaks 0.9 to 0.9, ballastd 1.0 to ") and
              agent["incompatible_reason"].endswith(": update ballast-agent in the guest"), f"the reason: {agent}")
        for words in (("guest", "g1"), ("guests",)):
            check(agent["incompatible_reason"] in ballast.ctl(*words).out, f"ballastctl {' '.join(words)} tells it")
        grow(scene)
        check_at_least(guest.hugepages(300), 250, "free huge pages in g1")
        stuck = shrink(scene, "--timeout", 15, check_rc=False)
        stayed = plugged(scene)
        check_equal([(r["code"], r["bytes"]) for r in stuck["remainder"]], [("no_agent", stayed)],
                    f"why {stayed // MIB} MiB stay: {stuck['remainder']}")
        guest.hugepages(0)
        done = shrink(scene, "--timeout", 120)
        check_equal((done["state"], plugged(scene)), ("succeeded", 0), f"a shrink without an agent: {done['remainder']}")
        check_equal((kinds(stuck) | kinds(done)) - {"request", "kick", "await", "settle"}, set(), "steps that need an agent")
        check_equal(peer.agent()["state"], "incompatible", "g1's agent at the end")
        scene.tell(f"an agent of 0.9: '{agent['incompatible_reason']}'; grown, {stayed // MIB} MiB stuck as without one, "
                   "then shrunk")


def first_version(scene):
    """Of 1.0: it is told what that agent cannot do, and a shrink takes the rungs that it has."""
    ballast, guest = scene.ballast, scene.good
    with OldPeer(scene, "1.0") as peer:
        peer.is_so("ready", False)
        agent = peer.agent()
        check_equal(set(agent["features"]) - FEATURES, set(), "features that 1.0 did not have")
        check({"offline", "huge_pages", "compact"} <= set(agent["features"]), f"and what the guest has of them: {agent}")
        grow(scene)
        check_at_least(guest.hugepages(400), 350, "free huge pages in g1")
        plan = shrink(scene, "--dry-run")
        told = [w for w in plan["warnings"] if w["code"] == "no_agent"]
        check_equal([w["detail"] for w in told], [f"agent {agent['version']} cannot: make_room, reclaim"], "what it cannot do")
        check(told[0]["way_out"], f"and the way out: {told}")
        refused = ballast.ctl("resize", "g1", f"{BASE_MIB}MiB", "--budget", "20%", check=False)
        check(refused.rc == codes.REFUSED and "share of its time" in refused.err, f"a share of the time: {refused}")
        asked = ballast.ctl("blocks", "g1", check=False)
        check(asked.rc == codes.FAILED and asked.err, f"what is in each block is not told: {asked}")
        done = shrink(scene, "--timeout", 120)
        climbed = {rung["rung"]: rung["gained_bytes"] // MIB for rung in done["result"]["climbed"]}
        check_equal((done["state"], plugged(scene)), ("succeeded", 0), f"a shrink with what it has: {done['remainder']}")
        check(climbed.get("free huge pages"), f"free huge pages are among the rungs: {climbed}")
        check_equal(kinds(done) & {"run_hooks", "make_guest_room", "reclaim"}, set(), f"rungs that it has not: {kinds(done)}")
        # What was taken is given back with the memory: leases and pools work.
        left = guest.meminfo("HugePages_Total")
        grow(scene)
        wait_for(lambda: guest.meminfo("HugePages_Total") > left, 30, "the pool to be given back", 1)
        guest.hugepages(0)
        scene.tell(f"an agent of 1.0: {told[0]['detail']}; by {climbed} all of it left, {left} huge pages then and "
                   "more of them with the memory again")


CASES = (ancient_version, first_version)
