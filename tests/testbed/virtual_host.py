# SPDX-License-Identifier: Apache-2.0
"""A host of its own with NUMA nodes and DIMMs, in one QEMU process without any virtualization hardware.

    with VirtualHost() as host:
        print(host.run("numactl -H").out)

Inside it, the root file system is this machine's own, read-only under an overlay in memory: programs of this machine,
freshly built ones too, are there at the same absolute paths, and nothing that is written inside survives or touches
this machine. The directory host.results (inside: host.RESULTS) is the one that both sides write. libvirtd runs inside,
and its guests run under real KVM (emulated AMD SVM).

The share of the root file system is a read-only bind mount in a mount namespace of its own, and every process started
here dies with the one that started it: nothing stays behind when a story is killed.
"""

import glob
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from . import paths
from .channel import Channel, ChannelError, CommandFailed, Forward
from .initramfs import BUSYBOX, Initramfs
from .qmp import Qmp, QmpError

VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
PORT_NAME = "testbed.command"
PREFIX = "ballast-host."
MODULES = ("virtio_pci", "virtio_console", "virtiofs", "overlay")


@dataclass
class Node:
    """A NUMA node: mib of ordinary memory (0: none of its own), and how many CPUs."""
    mib: int = 2048
    cpus: int = 1


@dataclass
class Dimm:
    """An ACPI memory device on a node. The name is QEMU's device id."""
    name: str
    node: int
    mib: int = 1024


def four_nodes():
    """Nodes 0 to 2 of 2 GiB; node 3 has no memory of its own."""
    return [Node(2048), Node(2048), Node(2048), Node(0)]


def default_distances(count):
    """0-1 and 2-3 are near each other, and 1 is nearer to 2 than 0 is: no two choices are alike."""
    table = {}
    for a in range(count):
        for b in range(count):
            if a != b:
                table[a, b] = 12 if a // 2 == b // 2 else 20 + 2 * (abs(a - b) - 1)
    return table


class TestbedError(Exception):
    """The virtual host did not do what it always does: not a failure of what is tested."""


class NotBooted(TestbedError):
    """Its kernel never came to run a command."""


# Debian's kernel clears what it allocates. Emulated that takes a third of the time of a move, and a pool of huge pages
# in a guest minutes. Later arguments win, so who wants it as it comes says init_on_alloc=1.
QUICK_KERNEL = "init_on_alloc=0"

# State and zones of all memory blocks, for a shell. One process for all files: starting a program is the expensive thing
# in the virtual host. A block without a node is just being plugged; who asks such a one for its zones kills the kernel's
# plugging (may_ask_zones in kvm/linux/memory_block.c).
BLOCK_FILES = ("cd /sys/devices/system/memory && set -- && for link in memory*/node*; do "
               "[ -e $link ] && set -- $@ ${link%/*}/valid_zones; done; grep -s '' memory*/state $@")


def processor_in_real_mode(looks):
    """Of a virtual host that answers nothing: in words, whether one of its processors was in real mode at both looks. None comes
    there after boot, and a guest's not for seconds, but by an INIT that was meant for a guest's. "" where none was."""
    if len(looks) < 2:
        return ""
    for number, states in enumerate(zip(*(re.findall(r"\bCR0=([0-9a-f]{8})", look) for look in looks))):
        if not any(int(state, 16) & 1 for state in states):
            return f"the virtual host answers nothing, and its processor {number} is in real mode"
    return ""


def wait_for(condition, timeout, what, interval=0.2):
    """Calls condition() until it returns something true, and returns that; TimeoutError naming `what` otherwise."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise TimeoutError(f"waited {timeout} s for: {what}")
        time.sleep(interval)


INIT = """#!/bin/busybox sh
export PATH=/bin
busybox mkdir -p /proc /sys /dev /lower /upper /root
busybox mount -t proc proc /proc
busybox --install -s /bin
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
@insert@
mount -t virtiofs -o ro root /lower
mount -t tmpfs -o size=@overlay_mib@m tmpfs /upper
mkdir -p /upper/data /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work overlay /root
mount -t tmpfs tmpfs /root/run
mkdir -p /root/run/testbed /root/run/lock /root/run/testbed/results
mount -t virtiofs results /root/run/testbed/results
cp /bin/busybox /bin/command_server /boot.sh /root/run/testbed/
for fs in proc sys dev; do mkdir -p /root/$fs; mount --move /$fs /root/$fs; done
exec switch_root /root /run/testbed/busybox sh /run/testbed/boot.sh
"""

BOOT = """#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C
cd /
mkdir -p /dev/pts /dev/shm /dev/hugepages /var/log /lib/modules
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
ln -sf /proc/self/fd /dev/fd
ln -sf fd/0 /dev/stdin; ln -sf fd/1 /dev/stdout; ln -sf fd/2 /dev/stderr
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /var/log
mount -t hugetlbfs hugetlbfs /dev/hugepages
[ -d /sys/kernel/mm/hugepages/hugepages-1048576kB ] && mkdir -p /dev/hugepages1G &&
	mount -t hugetlbfs -o pagesize=1G hugetlbfs /dev/hugepages1G
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -sfn @kernel@/lib/modules/@version@ /lib/modules/@version@
hostname virtual-host
ip link set lo up
for n in /sys/class/virtio-ports/*; do
	[ "$(cat $n/name)" = @port@ ] && port=/dev/${n##*/}
done
start_libvirt() {
	modprobe kvm_amd nested=1
	mkdir -p /etc/libvirt /var/lib/libvirt/qemu /var/log/libvirt/qemu /run/libvirt /var/cache/libvirt
	# Memory of guests whose backing is a file: pages of a tmpfs, and not of the overlay above one.
	mkdir -p /var/lib/libvirt/qemu/ram
	mount -t tmpfs -o size=90% tmpfs /var/lib/libvirt/qemu/ram
	# libvirtd insists on its default user, although qemu.conf names another.
	for name in libvirt-qemu kvm ballast; do
		grep -q "^$name:" /etc/group || echo "$name:x:640$((55 + i)):" >>/etc/group
		i=$((i + 1))
	done
	grep -q ^libvirt-qemu: /etc/passwd ||
		echo "libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin" >>/etc/passwd
	cat >/etc/libvirt/qemu.conf <<-END
		security_driver = "none"
		user = "root"
		group = "root"
		stdio_handler = "file"
		dynamic_ownership = 0
		remember_owner = 0
	END
	cat >/etc/libvirt/libvirtd.conf <<-END
		auth_unix_rw = "none"
		log_outputs = "3:file:@results@/libvirtd.log"
	END
	@capabilities_in@
	libvirtd -d && virsh -q uri >/dev/null
	echo $? >/run/testbed/libvirt
	virsh -q capabilities >/dev/null && @capabilities_out@
}
@start_libvirt@
exec /run/testbed/command_server $port
"""


class VirtualHost:
    """The virtual host. start() and stop(), or use it as a context manager.

    nodes       a list of Node; the default is four_nodes()
    dimms       a list of Dimm present at power-on; the default is one of 1 GiB, "dimm1", on node 3
    distances   {(from, to): value} for what is not the default
    online_dimms  after boot, online the DIMMs' memory as movable, as a host's own udev rules would do
    libvirt     start libvirtd
    movable_node  boot with movable_node: hot-pluggable memory becomes movable, and kernelcore= is not looked at
    kernel_arguments  added to the kernel's command line
    qemu_arguments    added to QEMU's

    results     this machine's path of the directory shared with the inside (there: VirtualHost.RESULTS)
    qmp         the Qmp of the QEMU process that is this host
    boot_seconds  from power-on until start() returned
    """

    RESULTS = "/run/testbed/results"

    def __init__(self, nodes=None, dimms=None, distances=None, online_dimms=True, libvirt=True, movable_node=True,
                 kernel_arguments="", qemu_arguments=(), dimm_slots=8, say=None):
        self.nodes = nodes if nodes is not None else four_nodes()
        self.dimms = dimms if dimms is not None else [Dimm("dimm1", len(self.nodes) - 1)]
        self.distances = default_distances(len(self.nodes)) | (distances or {})
        self.online_dimms, self.libvirt, self.dimm_slots = online_dimms, libvirt, dimm_slots
        self.kernel_arguments, self.qemu_arguments = kernel_arguments, list(qemu_arguments)
        if movable_node:
            self.kernel_arguments += " movable_node"
        self.qmp = self.channel = self._qemu = None
        self._hung = []
        self.guests = []
        self.guest_images = {}      # what guests boot from, and where that lies inside
        self.boot_seconds = 0.0
        self._say = say or (lambda text: None)
        self._processes = []
        self._forwards = []
        self.directory = self.results = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    # Life

    def start(self, timeout=180):
        """Powers on, and returns when commands run inside and libvirtd answers."""
        try:
            self._power_on(timeout / 2)
        except NotBooted as error:
            # An emulated machine may hang before its kernel says a word (seen once in some hundred boots).
            print(f"# {error}; it is powered on again", file=sys.stderr)
            self._power_on(timeout)

    def _power_on(self, timeout):
        began = time.monotonic()
        self._remove_left_over()
        self.directory = tempfile.mkdtemp(prefix=PREFIX)
        with open(os.path.join(self.directory, "owner"), "w", encoding="ascii") as f:
            f.write(str(os.getpid()))
        self.results = os.path.join(self.directory, "results")
        os.mkdir(self.results)
        try:
            self._boot(timeout)
            if self.online_dimms:
                for dimm in self.dimms:
                    self.online_dimm(dimm.name)
            if self.libvirt:
                self.wait_libvirt(timeout)
        except BaseException as error:
            self.stop(keep_log_of=error)
            raise
        self.boot_seconds = time.monotonic() - began

    def stop(self, keep_log_of=None):
        """Powers off. Kills only what start() started, and removes the temporary directory."""
        if keep_log_of is not None and not isinstance(keep_log_of, KeyboardInterrupt):
            print(self.log_tails(), file=sys.stderr)
        for forward in self._forwards:
            forward.close()
        if self.channel:
            self.channel.close()
        if self.qmp:
            self.qmp.close()
        for process in reversed(self._processes):
            if process.poll() is None:
                process.kill()
            process.wait()
        self._processes, self._forwards, self.guests, self.guest_images = [], [], [], {}
        self.channel = self.qmp = None
        if self.directory:
            self._keep_capabilities()
            self._remove(self.directory)
            self.directory = None

    def lose_power(self, keep):
        """Power is cut in the middle of whatever is done, and comes back. Of what was written inside, only the directory
        `keep` of results outlives it, as it was at that moment."""
        self._qemu.kill()
        self._qemu.wait()
        with tempfile.TemporaryDirectory(prefix="ballast-kept.") as kept:
            shutil.copytree(os.path.join(self.results, keep), os.path.join(kept, keep))
            self.stop()
            self.start()
            shutil.copytree(os.path.join(kept, keep), os.path.join(self.results, keep))

    @staticmethod
    def _remove(directory):
        """Removes a host's directory, unless the view of the root file system is somehow mounted here too."""
        view = os.path.join(directory, "root.view")
        if os.path.isdir(view):
            try:
                os.rmdir(view)
            except OSError:
                return
        shutil.rmtree(directory, ignore_errors=True)

    @classmethod
    def _remove_left_over(cls):
        """Removes what hosts left whose owner was killed. Their processes and mounts went with it."""
        for directory in glob.glob(os.path.join(tempfile.gettempdir(), PREFIX + "*")):
            try:
                with open(os.path.join(directory, "owner"), encoding="ascii") as f:
                    if not os.path.exists(f"/proc/{int(f.read())}"):
                        cls._remove(directory)
            except (OSError, ValueError):
                pass

    def _keep_capabilities(self):
        found = os.path.join(self.results, "capabilities")
        if os.path.isdir(found):
            kept = self._capabilities()
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(found, kept)

    @staticmethod
    def _capabilities():
        return os.path.join(paths.PROJECT, "build", "testbed", "capabilities")

    def died(self):
        """What the virtual host has died of: its own kernel's last words, or its emulator's end. "" while it lives."""
        try:
            with open(os.path.join(self.directory, "console"), errors="replace", encoding="utf-8") as f:
                words = next((line.strip() for line in f if "Kernel panic - not syncing" in line), "")
        except OSError:
            words = ""
        if words or not self._qemu:
            return words
        try:
            # The channel is gone a moment before the process.
            return f"the virtual host's emulator has ended: status {self._qemu.wait(1)}"
        except subprocess.TimeoutExpired:
            return processor_in_real_mode(self._hung)

    def hung(self):
        """Where it answers nothing: the registers of its processors, twice, by its emulator, for a person to read; "" where it
        answers, or is gone."""
        try:
            self.run(["true"], 20)
        except (ChannelError, CommandFailed):
            try:
                if not self.channel.lost:
                    self._hung = [self._registers()]
                    time.sleep(5)
                    self._hung.append(self._registers())
            except QmpError as error:
                self._hung.append(str(error))
        return "\n".join(self._hung)

    def _registers(self):
        return self.qmp.execute("human-monitor-command", command_line="info registers -a")

    def log_tails(self, lines=25):
        """The ends of all logs, for a person to read after a failure."""
        text = []
        for name, log in self.logs():
            tail = log[-20000:].splitlines()[-lines:]
            if tail:
                text += [f"--- {name}"] + ["    " + line for line in tail]
        return "\n".join(text)

    def logs(self):
        """(name, all of it) of each log and console."""
        logs = [os.path.join(self.directory, name) for name in ("qemu.log", "virtiofsd.log", "console")]
        logs += sorted(os.path.join(self.results, name) for name in os.listdir(self.results)
                       if name.endswith((".log", ".console")))
        for log in logs:
            try:
                with open(log, errors="replace", encoding="utf-8") as f:
                    yield os.path.basename(log), f.read()
            except OSError:
                continue

    @property
    def _memory(self):
        return os.path.join(self.directory, "memory")

    @property
    def running(self):
        return bool(self._processes) and self._processes[-1].poll() is None and not self.channel.lost

    def _spawn(self, arguments, log):
        with open(os.path.join(self.directory, log), "ab") as output:
            # setpriv: nothing outlives us, however we end.
            process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--"] + arguments, stdin=subprocess.DEVNULL,
                                       stdout=output, stderr=output, start_new_session=True)
        self._processes.append(process)
        return process

    def _wait_socket(self, path, process, timeout=20):
        def there():
            if process.poll() is not None:
                raise TestbedError(f"{process.args[4]} ended with status {process.returncode}")
            return os.path.exists(path)
        wait_for(there, timeout, path, 0.02)

    def _share(self, name, source, read_only):
        """A file server for one directory; a read-only one sees it through a read-only bind mount."""
        path = os.path.join(self.directory, name + ".sock")
        options = "sandbox=chroot,cache=always,log_level=warn"
        serve = f"exec {VIRTIOFSD} --socket-path={path} -o source=\"$1\" -o {options} -f"
        if read_only:
            view = os.path.join(self.directory, name + ".view")
            os.mkdir(view)
            serve = (f"mount --bind \"$1\" {view} && mount -o remount,bind,ro {view} && "
                     f"for d in {self._other_mounts()}; do mount --bind $d {view}$d && "
                     f"mount -o remount,bind,ro {view}$d || exit 1; done && set -- {view} && {serve}")
        process = self._spawn(["unshare", "--mount", "--propagation", "private", "--", "/bin/sh", "-c", serve, "sh",
                               source], "virtiofsd.log")
        self._wait_socket(path, process)
        return path

    @staticmethod
    def _other_mounts():
        """Mount points other than / that hold what the inside needs: the project, the build and the programs."""
        found = []
        for path in (paths.PROJECT, paths.BUILD, "/usr", "/etc", "/var"):
            while not os.path.ismount(path):
                path = os.path.dirname(path)
            if path != "/" and path not in found:
                found.append(path)
        return " ".join(sorted(found))

    def _initramfs(self):
        fill = {
            "overlay_mib": "1024", "port": PORT_NAME, "kernel": paths.KERNEL, "version": paths.kernel_version(),
            "results": self.RESULTS, "start_libvirt": "start_libvirt &" if self.libvirt else "",
            # What libvirtd finds out about QEMU takes it seconds here: it is kept from one boot to the next.
            # libvirtd itself sees when the QEMU or the kernel is another one.
            "capabilities_in": f"cp -r {self._capabilities()}/. /var/cache/libvirt/ 2>/dev/null",
            "capabilities_out": f"cp -r /var/cache/libvirt {self.RESULTS}/capabilities.part && "
                                f"mv {self.RESULTS}/capabilities.part {self.RESULTS}/capabilities",
        }
        archive = Initramfs()
        fill["insert"] = archive.modules(MODULES)
        init, boot = INIT, BOOT
        for key, value in fill.items():
            init, boot = init.replace(f"@{key}@", value), boot.replace(f"@{key}@", value)
        archive.file("/bin/busybox", BUSYBOX)
        archive.file("/bin/command_server", paths.built("tests/testbed/command_server"))
        archive.data("/init", init, 0o755)
        archive.data("/boot.sh", boot, 0o755)
        path = os.path.join(self.directory, "initramfs")
        archive.write(path)
        return path

    def _arguments(self, root, results):
        cpus = sum(node.cpus for node in self.nodes)
        memory = sum(node.mib for node in self.nodes)
        arguments = [
            paths.EMULATOR, "-name", "ballast-virtual-host", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-machine", "q35", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max,la57=off", "-smp", str(cpus),
            "-m", f"{memory}M,slots={self.dimm_slots},maxmem={memory + 1024 * 32}M",
            "-kernel", paths.kernel_image(), "-initrd", self._initramfs(),
            "-append", "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off no_timer_check "
                       f"tsc=reliable nokaslr random.trust_cpu=on {QUICK_KERNEL} {self.kernel_arguments}",
            "-serial", f"file:{self.directory}/console",
            "-qmp", f"unix:{self.directory}/qmp.sock,server=on,wait=off",
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=command,path={self.directory}/command.sock,server=on,wait=off",
            "-device", f"virtserialport,chardev=command,name={PORT_NAME}",
        ]
        cpu = 0
        for number, node in enumerate(self.nodes):
            text = f"node,nodeid={number}"
            if node.cpus:
                text += f",cpus={cpu}-{cpu + node.cpus - 1}"
                cpu += node.cpus
            if node.mib:
                # vhost-user file systems need memory that can be shared.
                arguments += ["-object", f"memory-backend-file,id=ram{number},size={node.mib}M,share=on,mem-path={self._memory}"]
                text += f",memdev=ram{number}"
            arguments += ["-numa", text]
        for (a, b), value in sorted(self.distances.items()):
            arguments += ["-numa", f"dist,src={a},dst={b},val={value}"]
        for dimm in self.dimms:
            arguments += ["-object", f"memory-backend-memfd,id=memory-{dimm.name},size={dimm.mib}M,share=on",
                          "-device", f"pc-dimm,id={dimm.name},memdev=memory-{dimm.name},node={dimm.node}"]
        for tag, path in (("root", root), ("results", results)):
            arguments += ["-chardev", f"socket,id={tag},path={path}",
                          "-device", f"vhost-user-fs-pci,chardev={tag},tag={tag},queue-size=1024"]
        return arguments + self.qemu_arguments

    def _boot(self, timeout):
        root = self._share("root", "/", True)
        results = self._share("results", self.results, False)
        # Its memory in huge pages, whatever this machine has set for others; the mount is seen by, and goes with, QEMU alone.
        os.mkdir(self._memory)
        mount = f"mount -t tmpfs -o huge=always,size=100% memory {self._memory} && exec \"$@\""
        self._qemu = qemu = self._spawn(["unshare", "--mount", "--propagation", "private", "--", "/bin/sh", "-c", mount,
                                         "sh"] + self._arguments(root, results), "qemu.log")
        for name in ("qmp.sock", "command.sock"):
            self._wait_socket(os.path.join(self.directory, name), qemu)
        self.qmp = Qmp(os.path.join(self.directory, "qmp.sock"))
        command = socket.socket(socket.AF_UNIX)
        command.connect(os.path.join(self.directory, "command.sock"))
        self.channel = Channel(command, "the virtual host")
        try:
            self.channel.handshake(timeout)
        except ChannelError as error:
            raise NotBooted(f"the virtual host did not boot: {error}") from error

    # What is inside

    def run(self, command, timeout=60, check=True, stdin=None):
        """Runs a command (shell text or a list of words) inside, and returns its Result (rc, out, err).

        With check, another status than 0 raises CommandFailed. Any number may run at the same time.
        """
        return self.channel.run(command, timeout, check, stdin)

    def spawn(self, command, stdin=False):
        """Starts a command inside and returns its Process: rc, out, running, wait(), kill(signal), write()."""
        return self.channel.spawn(command, stdin)

    def out(self, command, timeout=60):
        """What a command inside prints, without the last newline."""
        return self.run(command, timeout).out.rstrip("\n")

    def read(self, path, timeout=30):
        """The text of a file inside."""
        return self.run(["cat", path], timeout).out

    def write(self, path, text, timeout=30):
        """Writes a file inside, sysfs and procfs too: in one write(2), and errors raise CommandFailed."""
        self.run(f"dd of='{path}' bs=1M iflag=fullblock status=none conv=notrunc,nocreat 2>&1"
                 if path.startswith(("/sys/", "/proc/")) else f"cat >'{path}'", timeout, stdin=text)

    def exists(self, path):
        return self.run(["test", "-e", path], check=False).rc == 0

    def transparent_huge_pages(self, anonymous="never", shared="never"):
        """What the kernel gives from now on; pages that are there already stay as they are."""
        base = "/sys/kernel/mm/transparent_hugepage"
        self.run(f"echo {anonymous} >{base}/enabled && echo {shared} >{base}/shmem_enabled")

    def connect(self, path, timeout=20):
        """A Stream (sendall, recv) to a unix socket inside."""
        return self.channel.connect(path, timeout)

    def forward(self, path, port=0):
        """Makes a unix socket inside reachable on this machine, on 127.0.0.1 only. Returns the port."""
        self._forwards.append(Forward(self.channel, path, port))
        return self._forwards[-1].port

    # libvirt

    def virsh(self, *words, timeout=120, check=True):
        """Runs virsh inside; returns its Result."""
        return self.run(["virsh", "-q", *words], timeout, check)

    def wait_libvirt(self, timeout=120):
        """Waits for the libvirtd that was started at boot."""
        status = self.out("while ! [ -e /run/testbed/libvirt ]; do sleep 0.1; done; cat /run/testbed/libvirt", timeout)
        if status != "0":
            raise TestbedError("libvirtd did not start")

    def restart_libvirt(self, kill_signal=15, timeout=120):
        """Ends libvirtd (9: as a crash) and starts it again. Guests go on running."""
        self.run(f"pid=$(cat /run/libvirtd.pid); kill -{int(kill_signal)} $pid; "
                 "while kill -0 $pid 2>/dev/null; do sleep 0.1; done; libvirtd -d && virsh -q uri", timeout)

    # DIMMs

    def acpi_device(self, dimm):
        """The sysfs directory inside of a DIMM's ACPI device; it outlives an eject."""
        slot = None
        for device in self.qmp.execute("query-memory-devices"):
            if device["data"].get("id") == dimm:
                slot = device["data"]["slot"]
        if slot is None:
            raise TestbedError(f"QEMU has no DIMM {dimm}")
        return self.acpi_device_of_slot(slot)

    def acpi_device_of_slot(self, slot):
        for line in self.out("grep -s '' /sys/bus/acpi/devices/PNP0C80:*/uid").splitlines():
            path, _, uid = line.rpartition(":")
            if int(uid, 0) == slot:
                return os.path.dirname(path)
        raise TestbedError(f"no ACPI memory device for slot {slot}")

    def dimm_blocks(self, dimm):
        """The memory blocks of a DIMM that is present: [32, 33, ...]."""
        for device in self.qmp.execute("query-memory-devices"):
            data = device["data"]
            if data.get("id") == dimm:
                size = int(self.read("/sys/devices/system/memory/block_size_bytes"), 16)
                return list(range(data["addr"] // size, (data["addr"] + data["size"]) // size))
        raise TestbedError(f"QEMU has no DIMM {dimm}")

    def online_dimm(self, dimm, zone="online_movable"):
        """Onlines a DIMM's blocks, as a host's udev rules would."""
        blocks = self.dimm_blocks(dimm)
        self.run(f"for n in {' '.join(map(str, blocks))}; do f=/sys/devices/system/memory/memory$n/state; "
                 f"read s <$f && [ $s = online ] || echo {zone} >$f || exit 1; done")

    def plug_dimm(self, dimm, online=True, timeout=60):
        """Plugs a Dimm in while the host runs (after an eject: back in)."""
        try:
            self.qmp.execute("object-del", id=f"memory-{dimm.name}")
        except QmpError:
            pass
        self.qmp.execute("object-add", qom_type="memory-backend-memfd", id=f"memory-{dimm.name}",
                         size=dimm.mib << 20, share=True)
        self.qmp.execute("device_add", driver="pc-dimm", id=dimm.name, memdev=f"memory-{dimm.name}", node=dimm.node)
        last = self.dimm_blocks(dimm.name)[-1]
        wait_for(lambda: self.exists(f"/sys/devices/system/memory/memory{last}"), timeout,
                 f"the blocks of {dimm.name} to appear")
        if online:
            self.online_dimm(dimm.name)

