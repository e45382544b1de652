#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 24: memory that comes without an operation of ours to a guest whose own kernel leaves it offline.

BALLAST_CASE="name" runs only that case.
"""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from ballast import Ballast  # noqa: E402
from testbed.guest import Guest, VirtioMem  # noqa: E402
from testbed.story import Cases, booted_host, check, check_equal, main, story, wait_for  # noqa: E402

MIB = 1 << 20
BASE_MIB, DEVICE_MIB = 512, 1024
AUTO_ONLINE = "/sys/devices/system/memory/auto_online_blocks"


class Scene:
    def __init__(self, host, tell):
        self.host, self.tell = host, tell
        self.guest = Guest(host, "g1", BASE_MIB, nodes="1", virtio_mem=[VirtioMem(DEVICE_MIB)], online="offline")
        self.guest.start()
        self.ballast = Ballast(host)
        self.daemon()

    def daemon(self, **keys):
        """One with these keys of [daemon]."""
        if self.ballast.process:
            self.ballast.stop()
        self.ballast.configure({"daemon": {"assist_after_s": 0, **keys}, "limits": {"reserve": "256MiB"}})
        self.ballast.start()
        self.ballast.wait_agent("g1")

    def empty(self, policy):
        """Nothing plugged, and the guest's kernel does that with what comes."""
        self.guest.write(AUTO_ONLINE, policy)
        self.virsh(0)
        check_equal(self.counts(), (0, 0, 0), "blocks of the device at the start")

    def settled(self, counts, what):
        """They are soon, and stay."""
        wait_for(lambda: self.counts() == counts, 60, f"{what}: {counts} blocks offline, movable, normal", 1)
        time.sleep(12)
        check_equal(self.counts(), counts, f"{what}, some seconds later")

    def plugged(self):
        """The guest's own word on its blocks of hot-plugged memory: {number: "offline", "Movable", "Normal"}."""
        blocks = self.guest.blocks()
        start = self.guest.run("grep -h virtio_mem /proc/iomem || grep -h 'virtio[0-9]*$' /proc/iomem").out.split("-")[0].strip()
        first = int(start, 16) // self.guest.block_bytes()
        return {number: "offline" if state == "offline" else zones for number, (state, zones) in blocks.items()
                if number >= first}

    def counts(self):
        """How many of them are (offline, movable, normal)."""
        zones = list(self.plugged().values())
        return zones.count("offline"), zones.count("Movable"), zones.count("Normal")

    def virsh(self, mib):
        """Plain libvirt, to a size of the device."""
        self.guest.resize(mib)
        check_equal(self.guest.virtio_mem_sizes()[0]["current"] // MIB, mib, "MiB that libvirt says are plugged")

    def remainder(self):
        """What the host says of it: {code: MiB}."""
        return {item["code"]: item["bytes"] // MIB for item in self.ballast.guest("g1")["memory"]["remainder"]}

    def word(self):
        return self.ballast.guest("g1")["agent"]["word"]

    def policy(self):
        return self.guest.read(AUTO_ONLINE).strip()

    def ask_policy(self, wanted, state, policy):
        self.ballast.ctl("policy", "g1", "--online-policy", wanted)
        wait_for(lambda: (self.word()["onlining"], self.policy()) == (state, policy), 40, f"{policy} in the guest, {state}", 1)

    def reboot(self):
        self.guest.reboot()
        self.ballast.wait_agent("g1")


def policy_outlives_a_reboot(scene):
    """What the host's policy asks for is set again in each boot; what came before it is said; and it is given back."""
    scene.virsh(256)
    check_equal(scene.counts(), (2, 0, 0), "blocks of a guest without a policy")
    wait_for(lambda: scene.remainder() == {"not_onlined": 256}, 40, "it to be said", 1)
    scene.ask_policy("movable", "kept", "online_movable")
    scene.virsh(512)
    check_equal(scene.counts(), (2, 2, 0), "blocks after more has come by virsh")
    began = time.monotonic()
    scene.reboot()
    wait_for(lambda: scene.policy() == "online_movable", 60, "the policy after a reboot", 0.5)
    seconds = time.monotonic() - began
    wait_for(lambda: scene.guest.virtio_mem_sizes()[0]["current"] == 512 * MIB, 60, "the driver to have plugged", 1)
    offline, movable, normal = scene.counts()
    check_equal((offline + movable, normal), (4, 0), "blocks after the reboot")
    wait_for(lambda: scene.remainder() == ({"not_onlined": 128 * offline} if offline else {}), 40, "it to be said", 1)
    scene.virsh(768)
    check_equal(scene.counts(), (offline, movable + 2, 0), "blocks after more has come by virsh, after the reboot")
    scene.tell(f"set again {seconds:.0f} s after the reset; {offline} of 4 blocks came before it and stayed offline")
    scene.ask_policy("leave", "left", "offline")
    # Somebody in the guest wants it otherwise.
    scene.ask_policy("movable", "kept", "online_movable")
    scene.guest.write(AUTO_ONLINE, "online_kernel")
    wait_for(lambda: scene.word()["onlining"] == "overruled", 40, "it to be seen", 1)
    scene.ask_policy("unset", "left", "online_kernel")
    scene.tell("given back when it was not asked for any more; what somebody set in the guest was left to him")


def offline_is_repaired(scene):
    """Only where it is wanted; again after a reboot; and once for each block."""
    scene.empty("offline")
    scene.virsh(256)
    scene.settled((2, 0, 0), "plugged by virsh, nobody repairs")
    scene.daemon(zone_repair="yes", mode="observe")
    scene.settled((2, 0, 0), "with a daemon that only observes")
    check_equal(scene.remainder(), {"not_onlined": 256}, "what is said")
    scene.daemon(zone_repair="no")
    scene.ballast.ctl("policy", "g1", "--zone-repair", "yes")
    scene.settled((0, 2, 0), "with a policy of the guest that wants it")
    wait_for(lambda: (scene.remainder(), scene.word()["repair"]) == ({}, "256 MiB repaired"), 40, "it to be said", 1)
    scene.ballast.ctl("policy", "g1", "--zone-repair", "unset")
    scene.daemon(zone_repair="yes")
    scene.virsh(384)
    scene.settled((0, 3, 0), "after more by virsh")
    scene.reboot()
    check_equal(scene.policy(), "offline", "the guest's own policy")
    scene.settled((0, 3, 0), "after a reboot")
    # Its owner wants one offline.
    block = max(scene.plugged())
    scene.guest.write(f"/sys/devices/system/memory/memory{block}/state", "offline")
    scene.virsh(512)
    scene.settled((1, 3, 0), "after its owner has taken one offline")
    wait_for(lambda: f"{block} given up after one try" in (scene.word()["repair"] or ""), 40, "it to be said", 1)
    check_equal(scene.remainder(), {"not_onlined": 128}, "what is said")
    scene.tell(f"repaired when wanted and after a reboot; {scene.word()['repair']!r}")


def wrong_zone_is_repaired(scene):
    """Blocks in the kernel's zone that are free enough become movable; the others are named; and no page is harmed."""
    scene.daemon(zone_repair="no")
    scene.empty("online_kernel")
    scene.guest.pattern_start(100, pace_us=500)
    scene.virsh(512)
    check_equal(scene.counts(), (0, 0, 4), "blocks that the guest's kernel took for itself")
    wait_for(lambda: scene.remainder() == {"wrong_zone": 512}, 40, "it to be said", 1)
    scene.daemon(zone_repair="yes")
    text = wait_for(lambda: scene.word()["repair"], 150, "a repair", 1)
    offline, movable, normal = scene.counts()
    check_equal((offline, movable + normal), (0, 4), "blocks after the repair")
    check(movable > 0, f"some are movable now: {scene.plugged()}, {text}")
    check(text.startswith(f"{128 * movable} MiB repaired"), f"what is said is what there is: {text}, {scene.plugged()}")
    named = [number for number, zone in scene.plugged().items() if zone == "Normal"]
    check(all(f" {number}" in text for number in named), f"those that stayed are named: {named}, {text}")
    wait_for(lambda: scene.remainder() == ({"wrong_zone": 128 * normal} if normal else {}), 40, "the rest to be said", 1)
    check_equal(scene.guest.pattern_rounds(1)["errors"], 0, "pattern errors")
    scene.guest.pattern_stop()
    scene.tell(f"of 4 blocks in the kernel's zone {movable} are movable: {text!r}")


def udev_rule_is_named(scene):
    """A rule that onlines memory is found and named, until it is masked."""
    def told():
        return scene.word()["udev_onlines"], scene.word()["udev_rule"]
    rule = "/usr/lib/udev/rules.d/40-redhat.rules"
    check_equal(told(), (False, None), "what a guest without rules says")
    scene.guest.run(f"mkdir -p {os.path.dirname(rule)} /etc/udev/rules.d")
    scene.guest.write(rule, 'SUBSYSTEM!="memory", GOTO="end"\nATTR{state}=="offline", ATTR{state}="online"\nLABEL="end"\n')
    wait_for(lambda: told() == (True, rule), 90, "the rule to be named", 1)
    scene.guest.run("ln -s /dev/null /etc/udev/rules.d/40-redhat.rules")
    wait_for(lambda: told() == (False, None), 90, "the rule to be masked", 1)
    scene.guest.run(f"rm {rule} /etc/udev/rules.d/40-redhat.rules")
    scene.tell(f"{rule} was named, and no more when a link to /dev/null masked it")


def grown_by_the_ratio(scene):
    """Four times what it has: a part goes to its kernel's zones, as it is meant to, and nobody says that this is wrong."""
    scene.daemon()
    guest = Guest(scene.host, "g2", 256, nodes="2", virtio_mem=[VirtioMem(DEVICE_MIB)])
    guest.start()
    scene.ballast.wait_agent("g2")
    base = set(guest.blocks())
    operation = scene.ballast.ctl_json("resize", "g2", f"{256 + DEVICE_MIB}MiB")
    check_equal((operation["state"], operation["remainder"]), ("succeeded", []), "a grow past 3 to 1")
    policies = [step["target"] for step in operation["steps"] if step["kind"] == "online_policy"]
    check(len(policies) == 1 and policies[0].endswith("auto-movable"), f"how it was onlined: {policies}")
    zones = [zones for number, (_, zones) in guest.blocks().items() if number not in base]
    check(zones.count("Normal") > 0 and zones.count("Movable") > 0, f"both zones have some: {zones}")
    check_equal(scene.ballast.guest("g2")["memory"]["remainder"], [], "what is said of the guest")
    guest.destroy()
    scene.tell(f"grown to 5 times what it had: {zones.count('Movable')} blocks movable, {zones.count('Normal')} its kernel's")


CASES = (policy_outlives_a_reboot, offline_is_repaired, wrong_zone_is_repaired, udev_rule_is_named,
         grown_by_the_ratio)


@story(24, "memory by plain libvirt or after a reboot, in a guest that leaves it offline: found, said, onlined", limit_s=900)
def onlining(tell):
    wanted = os.environ.get("BALLAST_CASE", "")
    with booted_host() as host:
        scene, cases = Scene(host, tell), Cases(tell)
        for case in CASES:
            if wanted in case.__name__:
                began = time.monotonic()
                cases.run(case, scene)
                tell(f"  ({case.__name__}: {time.monotonic() - began:.0f} s)")
        cases.end()


if __name__ == "__main__":
    main()
