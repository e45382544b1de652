# SPDX-License-Identifier: Apache-2.0
"""Builds the small first file systems of the virtual host and of its guests: busybox, some modules, a few programs."""

import os
import stat
import subprocess

from . import paths

BUSYBOX = "/bin/busybox"


def module_paths(names):
    """The files of these kernel modules and of all that they need, in the order in which to insert them."""
    base = os.path.join(paths.KERNEL, "lib", "modules", paths.kernel_version())
    needs, by_name = {}, {}
    with open(os.path.join(base, "modules.dep"), encoding="ascii") as f:
        for line in f:
            path, _, rest = line.partition(":")
            needs[path] = rest.split()
            by_name[os.path.basename(path).split(".")[0].replace("-", "_")] = path
    order = []
    for name in names:
        path = by_name[name.replace("-", "_")]
        # modules.dep lists what is needed last-first.
        for one in reversed([path] + needs[path]):
            if one not in order:
                order.append(one)
    return [os.path.join(base, one) for one in order]


class Initramfs:
    """Collects files, then writes them as the uncompressed "newc" archive that the kernel unpacks at boot."""

    def __init__(self):
        self._entries = []
        self._directories, self._files = set(), set()

    def directory(self, path):
        path = path.strip("/")
        if path and path not in self._directories:
            self.directory(os.path.dirname(path))
            self._directories.add(path)
            self._entries.append((path, stat.S_IFDIR | 0o755, b""))

    def data(self, path, content, mode=0o644):
        path = path.strip("/")
        self.directory(os.path.dirname(path))
        if isinstance(content, str):
            content = content.encode()
        self._files.add(path)
        self._entries.append((path, stat.S_IFREG | mode, content))

    def file(self, path, source, mode=0o755):
        with open(source, "rb") as f:
            self.data(path, f.read(), mode)

    def program(self, path, source):
        """With the shared libraries that it needs, if it is not static: a build with sanitizers is not."""
        self.file(path, source)
        listed = subprocess.run(["ldd", source], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
        for line in listed.stdout.splitlines():
            library = next((word for word in line.split() if word.startswith("/")), None)
            if library and library.strip("/") not in self._files:
                self.file(library, library)

    def link(self, path, target):
        path = path.strip("/")
        self.directory(os.path.dirname(path))
        self._entries.append((path, stat.S_IFLNK | 0o777, target.encode()))

    def modules(self, names):
        """Adds modules under /modules; returns the shell lines that insert them."""
        lines = []
        for source in module_paths(names):
            target = "/modules/" + os.path.basename(source)
            self.file(target, source, 0o644)
            lines.append(f"insmod {target}")
        return "\n".join(lines)

    def write(self, path):
        with open(path, "wb") as f:
            for number, (name, mode, content) in enumerate(self._entries + [("TRAILER!!!", 0, b"")], 1):
                raw = name.encode() + b"\0"
                fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(raw), 0)
                head = b"070701" + b"".join(b"%08X" % field for field in fields) + raw
                f.write(head + b"\0" * (-len(head) % 4) + content + b"\0" * (-len(content) % 4))
