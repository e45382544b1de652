# SPDX-License-Identifier: Apache-2.0
"""Guests of the libvirt inside the virtual host.

    guest = Guest(host, "alpha", base_mib=512, backing="memfd", nodes="1", virtio_mem=[VirtioMem(1024)])
    guest.start()
    guest.run("cat /proc/meminfo").out

A guest boots the virtual host's own kernel directly, with a first file system that holds busybox, a few modules, the
pattern program and, if it is built, ballast-agent. Commands go to it over a virtio-serial port of its own: that is the
guest's own word, with nothing of Ballast between.
"""

import json
import os
import re
import threading
import time
import uuid
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from xml.sax.saxutils import escape

from . import paths
from .channel import Channel, ChannelError, CommandFailed
from .initramfs import BUSYBOX, Initramfs
from .virtual_host import BLOCK_FILES, QUICK_KERNEL, TestbedError, wait_for

COMMAND_PORT = "org.testbed.command.0"
AGENT_PORT = "org.ballast.agent.0"
MODULES = ("virtio_pci", "virtio_console", "virtio_mem", "virtio_balloon", "virtio_blk")
AGENT = "guest-agent/ballast-agent"
# Small, and it wakes no other CPU. SeaBIOS counts them by an INIT and a SIPI to all but itself, and under the emulation these
# have reached the virtual host's own CPUs now and then: they stood in real mode at 0x10000, SeaBIOS's vector, and all hung.
FIRMWARE = "/usr/share/qemu/qboot.rom"
# What libvirt's part of a start may take: it waits for QEMU to answer.
START_S = 80
START_TRIES = 8
NO_VCPU_MEMORY = re.compile(r"(KVM_\w+|kvm_\w+|KVM get MSR .*) failed.*[:,] Cannot allocate memory|"
                            r"kvm_init_msrs: Assertion `kvm_buf_set_msrs\(cpu\) == 0' failed")


@dataclass
class Cell:
    """A NUMA node of the guest's own.

    host_nodes: strict binding of this cell alone ("2"). page_kib: huge pages of this size behind this cell alone.
    """
    mib: int
    vcpus: int = 1
    host_nodes: str = ""
    page_kib: int = 0


@dataclass
class VirtioMem:
    """A virtio-mem device: its whole size, what is plugged at the start, and the guest's cell it belongs to.

    host_nodes: what libvirt calls its source nodes (""): as the cell. page_kib: huge pages behind this device alone.
    """
    mib: int
    requested_mib: int = 0
    cell: int = 0
    block_kib: int = 2048
    host_nodes: str = ""
    page_kib: int = 0


INIT = """#!/bin/busybox sh
busybox mkdir -p /proc /sys /dev /run /tmp /etc
busybox mount -t proc proc /proc
busybox --install -s /bin
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/virtio-ports /dev/hugepages /dev/shm
mount -t hugetlbfs hugetlbfs /dev/hugepages
mount -t tmpfs tmpfs /run
ln -sf /proc/self/fd /dev/fd
ln -sf fd/0 /dev/stdin; ln -sf fd/1 /dev/stdout; ln -sf fd/2 /dev/stderr
hostname @name@
ip link set lo up
@insert@
# What udev does elsewhere, for the ports of now and for those attached later.
link_ports
uevent link_ports >/dev/null 2>&1 &
[ -x /bin/ballast-agent ] && keep_agent &
exec command_server /dev/virtio-ports/@port@
"""

LINK_PORTS = """#!/bin/sh
for n in /sys/class/virtio-ports/*; do
	[ -s $n/name ] && ln -sf ../${n##*/} /dev/virtio-ports/$(cat $n/name)
done
true
"""

# The agent comes back when it ends, unless /run/no-agent is there. Its pid is in /run/agent.pid.
KEEP_AGENT = """#!/bin/sh
while :; do
	if ! [ -e /run/no-agent ] && [ -e @waits_for@ ]; then
		sh -c 'echo $$ >/run/agent.pid; exec /bin/ballast-agent @arguments@' >>/run/agent.log 2>&1
		echo "ended with status $?" >>/run/agent.log
		grep -E 'Sanitizer|runtime error' /run/agent.log >/dev/console
	fi
	sleep 1
done
"""

# Memory that is not used much can go to compressed memory: add_swap BYTES.
ADD_SWAP = """#!/bin/sh
@insert@
echo $1 >/sys/block/zram0/disksize && mkswap /dev/zram0 >/dev/null && swapon /dev/zram0
"""

_image_lock = threading.Lock()


def _guest_image(host, agent, agent_arguments, waits_for):
    """Writes the guests' first file system into the results directory, once for each agent; returns its inner path."""
    key = f"{agent}|{agent_arguments}|{waits_for}"
    with _image_lock:
        images = host.guest_images
        if key in images:
            return images[key]
        archive = Initramfs()
        modules = MODULES + ("vmw_vsock_virtio_transport",) * (waits_for == "/dev/vsock")
        init = INIT.replace("@insert@", archive.modules(modules)).replace("@port@", COMMAND_PORT)
        archive.file("/bin/busybox", BUSYBOX)
        archive.link("/bin/sh", "busybox")
        archive.file("/bin/command_server", paths.built("tests/testbed/command_server"))
        archive.file("/bin/pattern", paths.built("tests/testbed/pattern"))
        archive.file("/bin/kill_at", paths.built("tests/testbed/kill_at"))
        archive.data("/bin/link_ports", LINK_PORTS, 0o755)
        archive.data("/bin/add_swap", ADD_SWAP.replace("@insert@", archive.modules(("lzo_rle", "zram"))), 0o755)
        if agent:
            archive.program("/bin/ballast-agent", agent)
            archive.data("/bin/keep_agent", KEEP_AGENT.replace("@waits_for@", waits_for)
                         .replace("@arguments@", agent_arguments), 0o755)
        archive.data("/init", init.replace("@name@", "guest"), 0o755)
        name = f"guest-{len(images)}.initramfs"
        archive.write(os.path.join(host.results, name))
        images[key] = f"{host.RESULTS}/{name}"
        # Into memory inside: a guest's boot then reads it without the file server.
        host.run(["cp", images[key], f"/run/testbed/{name}"])
        images[key] = f"/run/testbed/{name}"
        return images[key]


def _copy_kernel(host):
    with _image_lock:
        if "kernel" not in host.guest_images:
            host.run(["cp", paths.kernel_image(), "/run/testbed/vmlinuz"])
            host.guest_images["kernel"] = "/run/testbed/vmlinuz"


class Guest:
    """A libvirt domain inside the virtual host.

    base_mib     boot memory; or give `cells`, a list of Cell
    backing      "memfd" (shared), "file" (shared, in libvirt's memory_backing_dir, a tmpfs), "anonymous",
                 "hugepages" (hugetlbfs of page_kib), "memfd-hugepages" (the same as a shared memfd).
                 Transparent huge pages are the host's affair: VirtualHost.transparent_huge_pages()
    nodes, mode  libvirt's numatune: nodes "3" with mode "strict", "preferred", "interleave" or "restrictive";
                 nodes "" for none
    virtio_mem   a list of VirtioMem
    vcpus        their number (when `cells` is given: the sum of theirs)
    vcpus_now    how many of them there are at the start, 0 for all: the others can be plugged in
    cpus         host CPUs for the vCPUs ("1"), "" for all
    image        what writes another first file system and returns its path inside (systemd_guest.image)
    agent        True: with the agent's channel, and the agent if it is built (or `agent_binary`);
                 "channel": the channel, but no agent in the guest; "vsock": the agent, which listens there, and no
                 channel (the device goes into extra_devices); False: neither
    agent_arguments  the agent's command line
    balloon      True, False, or "reporting": a balloon that tells the host of free pages
    online       the guest kernel's memhp_default_state
    kernel_arguments  added to the guest kernel's command line
    machine      libvirt's machine type; "pc" boots some seconds faster here than "q35"
    extra_devices, extra_xml  XML put into <devices>, and at the end of <domain>
    """

    def __init__(self, host, name, base_mib=512, cells=None, backing="memfd", page_kib=2048, nodes="", mode="strict",
                 virtio_mem=(), vcpus=1, vcpus_now=0, cpus="", agent=True, agent_binary=None, agent_arguments="", balloon=True,
                 online="online_movable", kernel_arguments="", machine="pc", max_mib=None, extra_devices="",
                 extra_xml="", image=None):
        self.host, self.name, self.uuid = host, name, str(uuid.uuid4())
        self.cells, self.vcpus_now = list(cells) if cells else [Cell(base_mib, vcpus)], vcpus_now
        self.backing, self.page_kib, self.nodes, self.mode = backing, page_kib, nodes, mode
        self.virtio_mem, self.cpus, self.balloon, self.machine = list(virtio_mem), cpus, balloon, machine
        self.agent, self.agent_arguments, self.online = agent, agent_arguments, online
        self.agent_binary = agent_binary
        if agent in (True, "vsock") and not agent_binary and os.path.exists(os.path.join(paths.BUILD, AGENT)):
            self.agent_binary = os.path.join(paths.BUILD, AGENT)
        if agent not in (True, "vsock"):
            self.agent_binary = None
        self.kernel_arguments, self.extra_devices, self.extra_xml = kernel_arguments, extra_devices, extra_xml
        self.base_mib = sum(cell.mib for cell in self.cells)
        self.max_mib = max_mib or self.base_mib + sum(device.mib for device in self.virtio_mem) + 4096
        self.image, self.channel = image, None
        # Of the libvirt that has it: another one's after a migration.
        self.virsh = host.virsh
        self.booted_as, self.ended = "", ""
        host.guests.append(self)

    # Life

    def define(self):
        """Defines the domain; start() does it too."""
        if self.backing.endswith("hugepages"):
            self.host.run("mountpoint -q /dev/hugepages")
        self.host.run(["virsh", "-q", "define", "/dev/stdin"], stdin=self.xml(), timeout=120)

    def start(self, wait=True, timeout=120):
        """Defines and starts it, and waits until it answers commands (and its pattern program can be used)."""
        self.define()
        self._start_domain(timeout)
        if wait:
            self.wait_boot(timeout)

    def _start_domain(self, timeout):
        """Again where the kernel had no memory for a virtual CPU's state.

        It copies that with GFP_USER (virt/kvm, memdup_user() and vmemdup_user()), so within the guest's own cpuset: on a
        node that has movable memory alone it then lives on what the slab allocator happens to have. QEMU says so of
        whichever call it was: KVM_SET_LAPIC, KVM_SET_CPUID2 (in kvm_arch_init_vcpu()), KVM_GET_MSRS ("KVM get MSR"), ...; of the
        first KVM_SET_MSRS without the reason.
        """
        for tries in range(START_TRIES):
            try:
                self.host.virsh("start", self.name, timeout=min(timeout, START_S))
                return
            except CommandFailed as error:
                self._note_hang(error)
                if not NO_VCPU_MEMORY.search(error.result.err) or tries == START_TRIES - 1:
                    raise
                time.sleep(0.5)

    def _note_hang(self, error):
        """Where libvirt's start of it did not come to an end, and no ballastd was there that could be the cause."""
        if error.result.rc is None and not self.host.run("pidof ballastd", check=False).out.strip():
            self.ended = f"guest {self.name}: its QEMU hung as libvirt started it"

    def wait_boot(self, timeout=120):
        """Waits until a guest that was started, or is rebooting, answers commands."""
        if self.channel:
            self.channel.close()
            self.channel = None
        try:
            path = self.channel_path(COMMAND_PORT)
            self.channel = Channel(self.host.connect(path), f"guest {self.name}")
            self.channel.handshake(timeout)
            self.booted_as = self.boot_id()
        except (ChannelError, TestbedError) as error:
            if not self.booted_as:
                self.note_end("while it booted")
            raise TestbedError(f"guest {self.name} did not boot: {error}\n{self._qemu_log()}\n"
                               f"{self.console()[-2000:]}") from error

    def note_end(self, when):
        """Where its QEMU has ended, which nobody can have asked for `when` this was, died() says so. Returns whether it has."""
        if self.state == "shut off":
            # Its own last words, and then libvirt's.
            self.ended = f"guest {self.name}: its QEMU ended {when}: {' '.join(self._qemu_log().splitlines()[-2:])}"
        return bool(self.ended)

    def _qemu_log(self):
        """The end of what its QEMU has said."""
        return self.host.run(["tail", "-n", "5", f"/var/log/libvirt/qemu/{self.name}.log"], check=False).out.strip()

    def reboot(self, wait=True, timeout=120):
        """A hard reset from outside."""
        boot_id = self.boot_id()
        self.host.virsh("reset", self.name)
        if wait:
            self.wait_boot(timeout)
            if self.boot_id() == boot_id:
                raise TestbedError(f"guest {self.name} did not reboot")

    def boot_id(self):
        return self.read("/proc/sys/kernel/random/boot_id").strip()

    def died(self):
        """In words, how its kernel ended although nobody ended it; "" where it did not, or where that cannot be known."""
        if self.ended:
            return self.ended
        panic = next((line.strip() for line in self.console().splitlines() if "Kernel panic - not syncing" in line), "")
        if panic:
            return f"guest {self.name}: {panic}"
        before = self.booted_as
        try:
            if not before or self.state != "running":
                return ""
            if words := self._lost_in_host():
                return words
            self.wait_boot(20)
        except (TestbedError, ChannelError, CommandFailed, TimeoutError):
            return ""
        return "" if self.booted_as == before else f"guest {self.name} began anew by itself"

    def _lost_in_host(self):
        """In words, whether a vCPU stands where the host's own kernel goes on after VMRUN: the emulated processor has given the
        guest the host's instruction pointer, and it never comes back. "" where none does. No guest has that module."""
        symbols = sorted((int(line.split()[0], 16), line.split()[2]) for line in
                         self.host.out("grep -F '[kvm_amd]' /proc/kallsyms").splitlines())
        start = next((address for address, name in symbols if name == "__svm_vcpu_run"), 0)
        end = next((address for address, _ in symbols if address > start), start)
        registers = self.host.virsh("qemu-monitor-command", self.name, "--hmp", "info registers -a").out
        for rip in re.findall(r"RIP=([0-9a-f]+)", registers):
            if start <= int(rip, 16) < end:
                return f"guest {self.name}: a vCPU stands at {rip}, in the host's __svm_vcpu_run"
        return ""

    def threads(self, seconds=2):
        """For a person to read after a failure: what each thread of its QEMU does, where its vCPU is and why it leaves the guest,
        or why nobody knows."""
        try:
            return self.host.run(f"""
                for t in /proc/{self.pid}/task/*; do
                    echo "$t $(cat $t/comm) $(cut -d' ' -f14,15 $t/stat)"
                done >/run/threads
                sleep {seconds}
                while read -r t rest; do
                    echo "$rest, now $(cut -d' ' -f14,15 $t/stat), $(grep State: $t/status), in $(cat $t/wchan)," \\
                         "CPUs $(grep Cpus_allowed_list: $t/status | cut -f2), nodes $(grep Mems_allowed_list: $t/status | cut -f2)"
                    head -4 $t/stack 2>/dev/null | sed 's/^/        /'
                done </run/threads
                monitor() {{ virsh qemu-monitor-command {self.name} --hmp "$@"; }}
                monitor 'info registers' | grep -aE 'IP=|CR2='
                monitor "x/6i 0x$(monitor 'info registers' | sed -n 's/.*RIP=\\([0-9a-f]*\\).*/\\1/p')"
                cd /sys/kernel/tracing && {{ test -e trace || mount -t tracefs tracefs .; cd /sys/kernel/tracing; }} &&
                    echo kvm:kvm_exit kvm:kvm_page_fault kvm:kvm_inj_virq kvm:kvm_inj_exception >set_event && sleep 0.2 &&
                    echo >set_event && tail -n 12 trace && echo "exits, by their reason:" &&
                    grep -o 'kvm_exit: .*reason [^ ]*' trace | sed 's/.*reason //' | sort | uniq -c""", timeout=60, check=False).out
        except (TestbedError, ChannelError, CommandFailed, TimeoutError, ValueError) as why:
            return f"cannot be told: {why}"

    def destroy(self):
        """Ends it as if by pulling the plug, and undefines it."""
        if self.channel:
            self.channel.close()
            self.channel = None
        self.host.virsh("destroy", self.name, check=False)
        self.host.virsh("undefine", self.name, check=False)
        if self in self.host.guests:
            self.host.guests.remove(self)

    @property
    def state(self):
        return self.host.virsh("domstate", self.name).out.strip()

    @property
    def pid(self):
        """The pid of its QEMU process inside the virtual host."""
        return int(self.host.read(f"/run/libvirt/qemu/{self.name}.pid"))

    # The inside of the guest

    def run(self, command, timeout=60, check=True, stdin=None):
        """Runs a command in the guest (busybox) and returns its Result."""
        if not self.channel:
            raise TestbedError(f"guest {self.name} does not run")
        return self.channel.run(command, timeout, check, stdin)

    def spawn(self, command, stdin=False):
        return self.channel.spawn(command, stdin)

    def out(self, command, timeout=60):
        """What a command in the guest prints, without the last newline."""
        return self.run(command, timeout).out.rstrip("\n")

    def read(self, path, timeout=30):
        return self.run(["cat", path], timeout).out

    def write(self, path, text, timeout=30):
        """Writes a file in the guest, sysfs and procfs too; errors raise CommandFailed."""
        self.run(f"cat >'{path}'", timeout, stdin=text)

    def console(self):
        """All that its serial console has said."""
        try:
            with open(os.path.join(self.host.results, self.name + ".console"), errors="replace",
                      encoding="utf-8") as f:
                return f.read()
        except OSError:
            return ""

    def meminfo(self, key="MemTotal"):
        """A line of the guest's /proc/meminfo, in bytes (huge page counts: as they are)."""
        for line in self.read("/proc/meminfo").splitlines():
            words = line.split()
            if words[0] == key + ":":
                return int(words[1]) * (1024 if words[-1] == "kB" else 1)
        raise KeyError(key)

    def blocks(self):
        """The guest's own memory blocks: {number: (state, valid_zones)}."""
        text = self.out(BLOCK_FILES)
        found = {}
        for line in text.splitlines():
            path, value = line.split(":", 1)
            number, name = path.removeprefix("memory").split("/")
            found.setdefault(int(number), {})[name] = value
        return {number: (values.get("state"), values.get("valid_zones")) for number, values in found.items()}

    def block_bytes(self):
        return int(self.read("/sys/devices/system/memory/block_size_bytes"), 16)

    def online_movable_bytes(self):
        """How much memory the guest's kernel says is online in its movable zone."""
        return sum(1 for state, zones in self.blocks().values()
                   if state == "online" and zones == "Movable") * self.block_bytes()

    def hugepages(self, count, size_kib=2048, timeout=60):
        """Sets the guest's pool of free huge pages; returns how many it got."""
        path = f"/sys/kernel/mm/hugepages/hugepages-{size_kib}kB/nr_hugepages"
        self.write(path, str(count), timeout)
        return int(self.read(path))

    def agent_is_told(self, configuration, hooks=(), signal="TERM"):
        """A new configuration of its agent, lines of the file, and its hooks, pairs of a name and a shell script.

        It begins anew, or by HUP reads it anew.
        """
        self.run("mkdir -p /etc/ballast/hooks.d && rm -f /etc/ballast/hooks.d/*")
        self.write("/etc/ballast/ballast-agent.conf", "".join(f"{line}\n" for line in ("[agent]", *configuration)))
        for name, script in hooks:
            self.write(f"/etc/ballast/hooks.d/{name}", f"#!/bin/sh\n{script}\n")
            self.run(["chmod", "755", f"/etc/ballast/hooks.d/{name}"])
        self.run(f"kill -{signal} $(cat /run/agent.pid)")

    # The pattern program

    def pattern_start(self, mib, name="main", hugetlb=False, once=False, still=False, pace_us=0, seed=0, cell=None, held=0,
                      gigantic=False, timeout=120):
        """Starts a writer over so much of the guest's memory, and waits until all of it is filled.

        once: pages are written once, and can be found from outside by their seed (backend.py). still: and read only in rounds
        that pattern_verify asks for. cell: in that cell alone. hugetlb, gigantic: in huge pages of 2 MiB, of 1 GiB.
        held: so many of them, all over, are put into a pipe: the kernel cannot move these until the writer ends.
        """
        words = ["pattern", "run", name, str(mib)]
        words += ["hugetlb"] * hugetlb + ["gigantic"] * gigantic + ["once"] * once + ["still"] * still
        words += [f"pace={pace_us}"] * bool(pace_us)
        words += [f"seed={seed}"] * bool(seed) + [f"cell={cell}"] * (cell is not None) + [f"held={held}"] * bool(held)
        self.run(words)
        wait_for(lambda: self.pattern_status(name)["filled"], timeout, f"{mib} MiB of pattern in {self.name}")

    def pattern_status(self, name="main"):
        """A dictionary: filled, pages, verified (pages), rounds, errors, first_bad, longest_pause_us, since_reset_us."""
        return json.loads(self.out(["pattern", "ask", name, "status"]))

    def pattern_reset_pause(self, name="main"):
        """Forgets the longest pause so far."""
        self.run(["pattern", "ask", name, "reset"])

    def pattern_rounds(self, count, name="main", timeout=120):
        """Waits for so many more whole rounds and returns the status: every page has then been verified again."""
        target = self.pattern_status(name)["rounds"] + count
        wait_for(lambda: self.pattern_status(name)["rounds"] >= target, timeout, f"pattern rounds in {self.name}")
        return self.pattern_status(name)

    def pattern_verify(self, name="main", timeout=120):
        """Has a pattern that is still verify all of its pages once, and returns the status."""
        target = self.pattern_status(name)["rounds"] + 1
        self.run(["pattern", "ask", name, "round"])
        wait_for(lambda: self.pattern_status(name)["rounds"] >= target, timeout, f"a round of the pattern in {self.name}")
        return self.pattern_status(name)

    def pattern_held(self, name="main"):
        """The frame numbers of the pages that a pattern holds, in the guest."""
        return json.loads(self.out(["pattern", "ask", name, "held"]))

    def pattern_stop(self, name="main"):
        """Ends the writer, waits until its memory is free, and gives its last status."""
        return json.loads(self.out(["pattern", "ask", name, "quit"]))

    # What libvirt says

    def live_xml(self):
        return ElementTree.fromstring(self.virsh("dumpxml", self.name).out)

    def channel_path(self, port=AGENT_PORT):
        """The unix socket inside the virtual host of one of its ports."""
        for channel in self.live_xml().iter("channel"):
            if channel.find("target").get("name") == port and channel.find("source") is not None:
                return channel.find("source").get("path")
        raise TestbedError(f"guest {self.name} has no port {port}, or does not run")

    def virtio_mem_sizes(self):
        """libvirt's word: a list of {alias, size, block, requested, current} in bytes, in the order of the XML."""
        found = []
        for memory in self.live_xml().iter("memory"):
            if memory.get("model") == "virtio-mem":
                target, alias = memory.find("target"), memory.find("alias")
                found.append({"alias": alias.get("name") if alias is not None else "",
                              "node": int(target.findtext("node", "0"))} |
                             {key: int(target.findtext(key, "0")) * 1024
                              for key in ("size", "block", "requested", "current")})
        return found

    def resize(self, mib, device=0, wait=True, timeout=60):
        """Plain libvirt: asks for a size of a virtio-mem device, without Ballast. True when it is reached in time."""
        alias = self.virtio_mem_sizes()[device]["alias"]
        self.virsh("update-memory-device", self.name, "--live", "--alias", alias, "--requested-size", f"{mib}MiB")
        if not wait:
            return None
        try:
            wait_for(lambda: self.virtio_mem_sizes()[device]["current"] == mib << 20, timeout, "resize", 0.3)
            return True
        except TimeoutError:
            return False

    def attach_memory(self, device):
        """Plugs a VirtioMem in while the guest runs."""
        self.host.run(["virsh", "-q", "attach-device", self.name, "/dev/stdin", "--live"],
                      stdin=self.virtio_mem_xml(device))
        self.virtio_mem.append(device)

    # XML

    def xml(self):
        """The domain's XML as it is defined."""
        vcpus = sum(cell.vcpus for cell in self.cells)
        by_vsock = self.agent == "vsock"
        image = self.image(self.host) if self.image else _guest_image(
            self.host, self.agent_binary, "--port vsock" if by_vsock else self.agent_arguments,
            "/dev/vsock" if by_vsock else f"/dev/virtio-ports/{AGENT_PORT}")
        _copy_kernel(self.host)
        arguments = (f"console=ttyS0 quiet loglevel=4 panic=1 mitigations=off no_timer_check nokaslr tsc=reliable "
                     f"random.trust_cpu=on {QUICK_KERNEL} memhp_default_state={self.online} "
                     f"{self.kernel_arguments}").strip()
        cells, first = "", 0
        for number, cell in enumerate(self.cells):
            last = first + cell.vcpus - 1
            cpus = f" cpus='{first}-{last}'" if cell.vcpus else ""
            cells += f"<cell id='{number}'{cpus} memory='{cell.mib}' unit='MiB'/>"
            first = last + 1
        backing = self._backing_xml()
        now = f" current='{self.vcpus_now}'" if self.vcpus_now else ""
        tune = f"<memory mode='{self.mode}' nodeset='{self.nodes}'/>" if self.nodes else ""
        tune += "".join(f"<memnode cellid='{number}' mode='strict' nodeset='{cell.host_nodes}'/>"
                        for number, cell in enumerate(self.cells) if cell.host_nodes)
        reporting = " freePageReporting='on'" if self.balloon == "reporting" else ""
        devices = "".join(self.virtio_mem_xml(device) for device in self.virtio_mem)
        devices += self._channel_xml(COMMAND_PORT)
        if self.agent and not by_vsock:
            devices += self._channel_xml(AGENT_PORT)
        return f"""<domain type='kvm'>
<name>{escape(self.name)}</name><uuid>{self.uuid}</uuid>
<maxMemory slots='16' unit='MiB'>{self.max_mib}</maxMemory>
<memory unit='MiB'>{self.base_mib}</memory>
{f"<memoryBacking>{backing}</memoryBacking>" if backing else ""}
<vcpu placement='static'{f" cpuset='{self.cpus}'" if self.cpus else ""}{now}>{vcpus}</vcpu>
{f"<numatune>{tune}</numatune>" if tune else ""}
<os><type arch='x86_64' machine='{self.machine}'>hvm</type>
<loader readonly='yes' type='rom'>{FIRMWARE}</loader>
<kernel>{self.host.guest_images['kernel']}</kernel><initrd>{image}</initrd><cmdline>{escape(arguments)}</cmdline></os>
<features><acpi/><apic/></features>
<cpu mode='host-passthrough'><numa>{cells}</numa></cpu>
<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<controller type='usb' model='none'/>
<serial type='file'><source path='{self.host.RESULTS}/{self.name}.console'/></serial>
<memballoon model='{"virtio" if self.balloon else "none"}'{reporting}/>
{devices}{self.extra_devices}
</devices>{self.extra_xml}
</domain>"""

    def _backing_xml(self):
        pages = f"<page size='{self.page_kib}' unit='KiB'/>" if self.backing.endswith("hugepages") else ""
        pages += "".join(f"<page size='{cell.page_kib}' unit='KiB' nodeset='{number}'/>"
                         for number, cell in enumerate(self.cells) if cell.page_kib)
        source = {"memfd": "memfd", "memfd-hugepages": "memfd", "file": "file"}.get(self.backing)
        return ((f"<hugepages>{pages}</hugepages>" if pages else "") +
                (f"<source type='{source}'/><access mode='shared'/>" if source else ""))

    @staticmethod
    def _channel_xml(name):
        return f"<channel type='unix'><target type='virtio' name='{name}'/></channel>"

    @staticmethod
    def virtio_mem_xml(device):
        source = f"<pagesize unit='KiB'>{device.page_kib}</pagesize>" if device.page_kib else ""
        source += f"<nodemask>{device.host_nodes}</nodemask>" if device.host_nodes else ""
        source = f"<source>{source}</source>" if source else ""
        return (f"<memory model='virtio-mem'>{source}<target><size unit='MiB'>{device.mib}</size>"
                f"<node>{device.cell}</node><block unit='KiB'>{device.block_kib}</block>"
                f"<requested unit='MiB'>{device.requested_mib}</requested></target></memory>")


def start_guests(*guests, timeout=240):
    """Starts several guests at once, which is quicker than one after the other."""
    for guest in guests:
        guest.start(wait=False, timeout=timeout)
    for guest in guests:
        guest.wait_boot(timeout)
