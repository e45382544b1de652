# SPDX-License-Identifier: Apache-2.0
"""A guest whose first process is systemd, with udev, as a distribution has them: what Ballast installs is put there as it is.

    guest = Guest(host, "alpha", 512, agent="channel", image=systemd_guest.image)

Everything but systemd, udev and their libraries is as in the testbed's other guests, and so is the way to give commands.
Nothing starts the agent but the rule and the unit that were installed.
"""

import os
import subprocess
import tempfile
import threading

from . import paths
from .guest import COMMAND_PORT, MODULES
from .initramfs import BUSYBOX, Initramfs

UNITS = "/usr/lib/systemd/system"
# What a guest needs to come up, to have its devices named, and to go down.
TAKEN = ("basic.target", "sysinit.target", "sockets.target", "timers.target", "paths.target", "slices.target", "local-fs.target",
         "local-fs-pre.target", "swap.target", "multi-user.target", "shutdown.target", "umount.target", "final.target",
         "systemd-udevd.service", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket", "systemd-udev-trigger.service")
WANTED = {"sysinit.target": ("systemd-udevd.service", "systemd-udev-trigger.service"),
          "sockets.target": ("systemd-udevd-control.socket", "systemd-udevd-kernel.socket"),
          "multi-user.target": ("commands.service",)}
RULES = ("50-udev-default.rules", "99-systemd.rules")
PROGRAMS = ("/usr/lib/systemd/systemd", "/usr/bin/systemctl", "/usr/bin/udevadm")
# What the agent's own package would install, of all that is installed.
INSTALLED = ("ballast-agent", "ballast-agent.service", "60-ballast-agent.rules", "ballast-agent.conf")

INIT = """#!/bin/busybox sh
busybox mount -t proc proc /proc
busybox --install -s /bin
export PATH=/bin:/sbin
@insert@
umount /proc
exec /usr/lib/systemd/systemd
"""

COMMANDS = f"""[Unit]
Description=Commands of the testbed

[Service]
Environment=PATH=/bin:/sbin HOME=/
ExecStart=/bin/command_server /dev/virtio-ports/{COMMAND_PORT}
Restart=always
RestartSec=1
StartLimitIntervalSec=0
"""


_image_lock = threading.Lock()


class _Merged(Initramfs):
    """With /bin, /sbin and the libraries' directories below /usr, as Debian has them."""

    MERGED = ("bin", "sbin", "lib", "lib64")

    def __init__(self):
        super().__init__()
        for name in self.MERGED:
            self.directory(f"/usr/{name}")
            self.link(f"/{name}", f"usr/{name}")

    def data(self, path, content, mode=0o644):
        first = path.strip("/").split("/")[0]
        path = f"/usr{path}" if first in self.MERGED else path
        if path.strip("/") not in self._files:
            super().data(path, content, mode)


def _install(archive):
    """Takes what `meson install` puts down for a guest, where it puts it."""
    with tempfile.TemporaryDirectory() as root:
        subprocess.run(["meson", "install", "-C", paths.BUILD, "--no-rebuild", "--quiet"], check=True,
                       env=os.environ | {"DESTDIR": root}, stdout=subprocess.DEVNULL)
        for directory, _, names in os.walk(root):
            for name in set(names) & set(INSTALLED):
                source = os.path.join(directory, name)
                if "init.d" in directory:
                    continue
                archive.file(source.removeprefix(root), source, os.stat(source).st_mode & 0o777)


def image(host):
    """Writes its first file system, once for each virtual host; returns its path inside."""
    with _image_lock:
        if "systemd_image" not in host.__dict__:
            host.systemd_image = _write_image(host)
    return host.systemd_image


def _write_image(host):
    archive = _Merged()
    archive.data("/init", INIT.replace("@insert@", archive.modules(MODULES)), 0o755)
    for directory in ("/proc", "/sys", "/dev", "/run", "/tmp", "/var", "/root"):
        archive.directory(directory)
    archive.file("/bin/busybox", BUSYBOX)
    archive.link("/usr/bin/sh", "busybox")
    for program in PROGRAMS:
        archive.program(program, program)
    archive.link("/usr/lib/systemd/systemd-udevd", "../../bin/udevadm")
    for name in ("command_server", "pattern"):
        archive.file(f"/bin/{name}", paths.built(f"tests/testbed/{name}"))
    archive.program("/bin/slice_peer", paths.built("tests/service/worker/slice_peer"))
    for unit in TAKEN:
        archive.file(f"{UNITS}/{unit}", f"{UNITS}/{unit}", 0o644)
    archive.link(f"{UNITS}/default.target", "multi-user.target")
    archive.data(f"{UNITS}/commands.service", COMMANDS)
    for target, units in WANTED.items():
        for unit in units:
            archive.link(f"{UNITS}/{target}.wants/{unit}", f"../{unit}")
    for rule in RULES:
        archive.file(f"/usr/lib/udev/rules.d/{rule}", f"/usr/lib/udev/rules.d/{rule}", 0o644)
    # There is no journal: what units say goes to the console, which a failed story prints.
    archive.data("/etc/systemd/system.conf", "[Manager]\nDefaultStandardOutput=console\nLogTarget=console\nLogColor=no\n")
    archive.data("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    archive.data("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    archive.data("/etc/group", "root:x:0:\n" + "".join(f"{name}:x:{number}:\n" for number, name in enumerate(
        ("tty", "disk", "kmem", "input", "video", "audio", "lp", "cdrom", "dialout", "tape", "kvm", "render", "sgx"), 5)))
    _install(archive)
    name = "systemd.initramfs"
    archive.write(os.path.join(host.results, name))
    host.run(["cp", f"{host.RESULTS}/{name}", f"/run/testbed/{name}"])
    return f"/run/testbed/{name}"
