#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""usage: emulator.py QEMU DIRECTORY

Makes DIRECTORY/bin/qemu-system-x86_64, a copy of QEMU in which two faults of its emulated VMRUN are mended. Such a copy is
the virtual host's processor; QEMU itself, which runs the guests inside, stays as it is. Where the places are not found, as in
a QEMU in which they are mended, there is no copy, and it says so.

helper_vmrun() (target/i386/tcg/sysemu/svm_helper.c, QEMU 7.2):
  - Having delivered the interrupt that KVM injects, it leaves its vector in CPUState.exception_index. When the processor's
    thread is kicked before anything else writes there, cpu_handle_exception() delivers the same vector to the guest once
    more, whether the guest has interrupts enabled or not: a timer's interrupt within a timer's interrupt, that reads the
    clock whose seqlock the outer one has taken, and spins for ever. The kick itself is forgotten.
  - It sets a bit of CPUState.interrupt_request without the lock by which other processors' threads set theirs, so that an
    interrupt between the two can be lost.
"""

import hashlib
import os
import re
import shutil
import sys

# movzbl vector, %esi; mov error code, env->error_code; mov %esi, cs->exception_index; movl $0, env->exception_is_int;
# movq $-1, env->exception_next_eip: the one event of the four that helper_vmrun() delivers by itself.
VECTOR_IS_LEFT = re.compile(rb"\x41\x0f\xb6\xf4\x44\x89\xab..\x00\x00(\x89\xb3..\xff\xff)\xc7\x83..\x00\x00\x00\x00\x00\x00"
                            rb"\x48\xc7\x83..\x00\x00\xff\xff\xff\xff", re.DOTALL)
# test %esi, %esi; je; orl $CPU_INTERRUPT_VIRQ, cs->interrupt_request
SET_UNLOCKED = re.compile(rb"\x85\xf6\x74\x0a(\x81\x8b..\xff\xff\x00\x01\x00\x00)", re.DOTALL)


def no_store(_):
    return b"\x66\x0f\x1f\x44\x00\x00"


def set_locked(instruction):
    """lock orb $1 of the second byte, which is the same bit, and a nop of two bytes."""
    place = int.from_bytes(instruction[2:6], "little", signed=True) + 1
    return b"\xf0\x80\x8b" + place.to_bytes(4, "little", signed=True) + b"\x01\x66\x90"


def mended(program):
    """The mended bytes, or None where a place is not there, or more than once."""
    for pattern, new in ((VECTOR_IS_LEFT, no_store), (SET_UNLOCKED, set_locked)):
        found = list(pattern.finditer(program))
        if len(found) != 1:
            return None
        start, end = found[0].span(1)
        program = program[:start] + new(program[start:end]) + program[end:]
    return program


def main():
    source, directory = sys.argv[1:]
    with open(source, "rb") as f:
        program = f.read()
    version = hashlib.sha256(program).hexdigest()
    made_of = os.path.join(directory, "made-of")
    try:
        with open(made_of, encoding="ascii") as f:
            if f.read() == version:
                return
    except FileNotFoundError:
        pass
    shutil.rmtree(directory, ignore_errors=True)
    program = mended(program)
    if program is None:
        print(f"emulator: {source} has not the faults of VMRUN where they are known, and is used as it is")
        return
    # QEMU looks for its modules and firmware beside the directory that it is in.
    os.makedirs(os.path.join(directory, "bin"))
    for name in ("lib", "share"):
        os.symlink(os.path.join(os.path.dirname(os.path.dirname(source)), name), os.path.join(directory, name))
    copy = os.path.join(directory, "bin", os.path.basename(source))
    with open(copy, "wb") as f:
        f.write(program)
    os.chmod(copy, 0o755)
    with open(made_of, "w", encoding="ascii") as f:
        f.write(version)


if __name__ == "__main__":
    main()
