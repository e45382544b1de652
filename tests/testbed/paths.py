# SPDX-License-Identifier: Apache-2.0
"""Where things are. BALLAST_BUILD names another build directory than ./build, BALLAST_EMULATOR another QEMU to be the virtual
host, which is otherwise what emulator.py has made of the distribution's: that one its guests have in any case."""

import os

PROJECT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.path.realpath(os.environ.get("BALLAST_BUILD", os.path.join(PROJECT, "build")))
KERNEL = os.path.join(PROJECT, "build", "testbed", "kernel")
QEMU = "/usr/bin/qemu-system-x86_64"
MENDED_QEMU = os.path.join(PROJECT, "build", "testbed", "emulator", "bin", "qemu-system-x86_64")
EMULATOR = os.environ.get("BALLAST_EMULATOR", MENDED_QEMU if os.path.exists(MENDED_QEMU) else QEMU)


def built(path):
    """The absolute path of something that the build makes. It is the same inside the virtual host."""
    full = os.path.join(BUILD, path)
    if not os.path.exists(full):
        raise FileNotFoundError(f"{full} is not built: run ./check --unit once, or ninja -C {BUILD}")
    return full


def kernel_image():
    return os.path.join(KERNEL, "vmlinuz")


def kernel_version():
    with open(os.path.join(KERNEL, "ready"), encoding="ascii") as f:
        return f.read().strip()
