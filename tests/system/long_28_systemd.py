#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 28: the agent as it is installed, in guests that systemd and udev run: the rule starts it, the unit confines it."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from ballast import Ballast  # noqa: E402
from testbed import systemd_guest  # noqa: E402
from testbed.guest import Guest, VirtioMem, start_guests  # noqa: E402
from testbed.story import Cases, booted_host, check, check_at_least, check_at_most, check_equal, main, story, wait_for  # noqa: E402

MIB = 1 << 20
BASE_MIB, PLUGGED_MIB = 512, 512
UNIT = "ballast-agent.service"
LOG = "/var/hook.log"
UNPLUG_ONLINE = "/sys/module/virtio_mem/parameters/unplug_online"


class Scene:
    def __init__(self, ballast, guest, tell):
        self.ballast, self.guest, self.tell = ballast, guest, tell

    def unit(self, name):
        """A property of the agent's unit, systemd's word."""
        return self.guest.out(["systemctl", "show", "--value", "-p", name, UNIT])

    def status(self):
        """{field: text} of the agent's process, which is as small as it must be."""
        status = dict(line.split(":\t", 1) for line in self.guest.read(f"/proc/{self.unit('MainPID')}/status").splitlines()
                      if ":\t" in line)
        check_at_most(int(status["VmRSS"].split()[0]), 2048, "KiB of the agent that are resident")
        return status

    def plugged(self):
        return self.guest.virtio_mem_sizes()[0]["current"]

    def is_put_back(self):
        """The driver may take online blocks, and no block is offline."""
        return self.guest.read(UNPLUG_ONLINE).strip() == "Y" and \
            "offline" not in [state for state, _ in self.guest.blocks().values()]

    def grow(self):
        self.ballast.ctl("resize", self.guest.name, f"{BASE_MIB + PLUGGED_MIB}MiB", "--timeout", 60, check=False)
        wait_for(lambda: self.guest.online_movable_bytes() == PLUGGED_MIB * MIB, 60, "the memory to be online in the guest")

    def shrink(self, *options, timeout=90):
        operation = self.ballast.ctl_json("resize", self.guest.name, f"{BASE_MIB}MiB", "--timeout", timeout, *options,
                                          check=False)
        rungs = ", ".join(f"{rung['rung']} {rung['gained_bytes'] // MIB} MiB" for rung in operation["result"]["climbed"])
        self.tell(f"{operation['state']} after {rungs or 'nothing'}; remainder: {operation['remainder'] or 'none'}")
        return operation


def started_by_the_rule(scene):
    """Nothing is enabled: the port's appearance starts it, as root without the means that it does not need."""
    guest = scene.guest
    check_equal((scene.unit("ActiveState"), scene.unit("UnitFileState")), ("active", "static"), "the unit")
    status = scene.status()
    check_equal(status["NoNewPrivs"].strip(), "1", "NoNewPrivs of the agent")
    check(int(status["CapBnd"], 16) != (1 << 41) - 1, f"its capabilities are bounded: {status['CapBnd']}")
    check_equal(guest.run("touch /usr/by-hand", check=False).rc, 0, "what is read-only to it is so to it alone")
    scene.tell(f"started by the rule; {status['VmRSS'].strip()} resident, capabilities {status['CapBnd'].strip()}")


def what_it_does_it_may(scene):
    """Pools, blocks, the driver's parameter: each rung works under the unit's limits."""
    guest = scene.guest
    scene.grow()
    # More than fit into what is to stay.
    check_equal(guest.hugepages(250), 250, "huge pages in the guest")
    guest.pattern_start(100, name="huge", hugetlb=True, pace_us=500)
    operation = scene.shrink("--budget", "60%")
    check_equal((operation["state"], scene.plugged()), ("succeeded", 0), "a shrink past huge pages, some of them in use")
    check_equal(guest.pattern_rounds(1, name="huge")["errors"], 0, "pattern errors in the huge pages")
    check_equal({rung["rung"] for rung in operation["result"]["climbed"]} & {"free huge pages"}, {"free huge pages"},
                "what the agent has done")
    guest.pattern_stop("huge")
    guest.hugepages(0)
    check_equal(guest.read(UNPLUG_ONLINE).strip(), "Y", "the driver's parameter afterwards")
    scene.status()


def a_hook_lets_go(scene):
    """Hooks run below the unit: they reach an application by its socket, and write where applications write."""
    guest = scene.guest
    guest.run("mkdir -p /etc/ballast/hooks.d")
    guest.write("/etc/ballast/hooks.d/10-application",
                f"#!/bin/sh\necho $BALLAST_HOOK $BALLAST_OUTCOME >>{LOG}\n"
                "[ $1 = after ] || pattern ask held quit >/dev/null\n")
    guest.run("chmod 755 /etc/ballast/hooks.d/10-application")
    guest.write("/etc/ballast/ballast-agent.conf", "[agent]\nhooks = yes\n")
    guest.run(["systemctl", "restart", UNIT])
    wait_for(lambda: "hooks" in scene.ballast.guest(guest.name)["agent"]["features"], 30, "the host to hear of the hooks", 0.5)
    scene.grow()
    guest.pattern_start(320, name="held", once=True, held=64)
    operation = scene.shrink()
    check_equal((operation["state"], scene.plugged()), ("succeeded", 0), "a shrink past pinned pages whose owner has a hook")
    wait_for(lambda: guest.read(LOG).split("\n")[:2] == ["before", "after kept"], 20, "the hook to have been told of both")
    scene.tell(f"{scene.status()['VmRSS'].strip()} of the agent are resident after a shrink by every rung")


def stopped_and_killed(scene):
    """In the middle of a shrink: what it has changed is put back, at once by a stop and by the next start after a kill."""
    guest = scene.guest
    guest.run("rm /etc/ballast/hooks.d/*")
    for signal in ("stop", "kill"):
        scene.grow()
        guest.pattern_start(320, name="held", once=True, held=64)
        pid = scene.unit("MainPID")
        identity = scene.ballast.ctl("resize", guest.name, f"{BASE_MIB}MiB", "--timeout", 60, "--budget", "20%",
                                    "--detach").out.strip()
        wait_for(lambda: "offline" in [state for state, _ in guest.blocks().values()], 60, "blocks to be offline", 0.3)
        if signal == "stop":
            guest.run(["systemctl", "stop", UNIT])
        else:
            guest.run(["kill", "-9", pid])
            wait_for(lambda before=pid: scene.unit("MainPID") not in ("0", before), 30, "the agent to be back")
        # A kill leaves it to the next start, which has just begun.
        wait_for(lambda: scene.is_put_back(), 1 if signal == "stop" else 120, "what the agent had changed to be put back")
        if signal == "stop":
            guest.run(["systemctl", "start", UNIT])
        scene.ballast.wait_operation(identity, 120)
        scene.ballast.wait_agent(guest.name)
        guest.pattern_stop("held")
        scene.tell(f"{signal} in the middle of a shrink: put back")
    check_equal(scene.shrink()["state"], "succeeded", "the same shrink afterwards")


def attached_later(scene):
    """A guest that runs without the port gets it: the rule starts the agent, which then works."""
    guest = scene.guest
    check_equal(scene.unit("ActiveState"), "inactive", "the agent of a guest without its port")
    said = scene.ballast.ctl("attach-agent", guest.name, timeout=90)
    check("its agent has answered" in said.out, f"it is said that the agent has answered: {said}")
    check_equal(scene.unit("ActiveState"), "active", "the agent's unit")
    scene.grow()
    guest.hugepages(200)
    operation = scene.shrink()
    check_equal((operation["state"], scene.plugged()), ("succeeded", 0), "a shrink with the help of an agent that came later")
    check_at_least(len(operation["result"]["climbed"]), 1, "rungs")


@story(28, "the agent as it is installed, under systemd and udev: started by its port, confined, and able to do its work",
       limit_s=900)
def systemd(tell):
    with booted_host() as host:
        ballast, cases = Ballast(host, {"limits": {"reserve": "256MiB"}}), Cases(tell)

        def guest(name, node, agent):
            return Guest(host, name, BASE_MIB, nodes=node, agent=agent, image=systemd_guest.image,
                         virtio_mem=[VirtioMem(PLUGGED_MIB)])
        guests = [guest("unit1", "1", "channel"), guest("later1", "2", False)]
        began = time.monotonic()
        start_guests(*guests)
        tell(f"two guests came up under systemd in {time.monotonic() - began:.0f} s")
        ballast.start()
        ballast.wait_agent("unit1")
        for case in (started_by_the_rule, what_it_does_it_may, a_hook_lets_go, stopped_and_killed):
            cases.run(case, Scene(ballast, guests[0], tell))
        cases.run(attached_later, Scene(ballast, guests[1], tell))
        cases.end()


if __name__ == "__main__":
    main()
