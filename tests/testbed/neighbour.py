# SPDX-License-Identifier: Apache-2.0
"""A second libvirtd in the same virtual host that believes to be on another one: where a guest can live-migrate to.

It has a mount namespace of its own, so that nothing of the first libvirtd's files is there, and the id of another host,
without which libvirt refuses: "attempt to migrate guest to the same host". Both sides meet in one directory of sockets.
"""

import uuid

from .channel import Channel
from .guest import COMMAND_PORT
from .virtual_host import TestbedError, wait_for

DIRECTORY = "/run/neighbour"
URI = f"qemu+unix:///system?socket={DIRECTORY}/libvirt-sock"

START = f"""set -e
for path in /run/libvirt /var/lib/libvirt /etc/libvirt/qemu; do
	mkdir -p $path
	mount -t tmpfs neighbour $path
done
mkdir -p /var/lib/libvirt/qemu
exec libvirtd -f {DIRECTORY}/libvirtd.conf -p {DIRECTORY}/pid
"""


class Neighbour:
    """Starts at once; ready() waits for it."""
    DIRECTORY, URI = DIRECTORY, URI

    def __init__(self, host):
        self.host = host
        host.run(["mkdir", "-p", DIRECTORY])
        host.write(f"{DIRECTORY}/libvirtd.conf", f'host_uuid = "{uuid.uuid4()}"\nauth_unix_rw = "none"\n'
                   f'unix_sock_dir = "{DIRECTORY}"\nlog_outputs = "3:file:{host.RESULTS}/neighbour.log"\n')
        host.write(f"{DIRECTORY}/start", START)
        self.process = host.spawn(f"exec unshare --mount --propagation private sh {DIRECTORY}/start")

    def ready(self, timeout=60):
        wait_for(lambda: self.virsh("uri", check=False).rc == 0, timeout, "the second libvirtd", 0.5)

    @property
    def pid(self):
        """Of its libvirtd, in the virtual host."""
        return self.host.read(f"{DIRECTORY}/pid").strip()

    def virsh(self, *words, timeout=60, check=True):
        return self.host.run(["virsh", "-q", "-c", URI, *words], timeout, check)

    def inside(self, command):
        """The same command, where this host's files are."""
        return f"nsenter --mount --target {self.pid} {command}"

    def migration(self, guest):
        """Starts a live migration of the guest to here, and returns the Process."""
        return self.host.spawn(f"exec virsh migrate --live {guest.name} '{URI}' --migrateuri unix://{DIRECTORY}/migration")

    def take_over(self, guest, timeout=60):
        """The guest's commands go to it where it is now."""
        if guest.channel:
            guest.channel.close()
            guest.channel = None
        path = next((word.split("'")[1] for word in self.virsh("dumpxml", guest.name).out.split()
                     if word.startswith("path='") and COMMAND_PORT in word), "")
        if not path:
            raise TestbedError(f"guest {guest.name} has no port {COMMAND_PORT} here")
        guest.virsh = self.virsh
        guest.channel = Channel(self.host.connect(f"/proc/{self.pid}/root{path}"), f"guest {guest.name}, migrated")
        guest.channel.handshake(timeout)
