# SPDX-License-Identifier: Apache-2.0
"""ballastd and ballastctl inside the virtual host, as a story drives them.

    ballast = Ballast(host)
    ballast.start()
    ballast.ctl("nodes").out
    ballast.get("/v1/guests/alpha")["memory"]["current_bytes"]
"""

import json
import os
import signal
import sys
from datetime import datetime

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from testbed import paths  # noqa: E402
from testbed.virtual_host import wait_for  # noqa: E402

SOCKET = "/run/ballast/ballastd.sock"
STATE = "/var/lib/ballast"
LOG = "ballastd.log"

# What the exit codes of ballastctl mean.
DONE, FAILED, USAGE, REFUSED, DEADLINE, CANCELLED, UNREACHABLE, PLAN_CHANGED, INCOMPLETE = range(9)

FINAL = ("succeeded", "incomplete", "failed", "cancelled")


def seconds(time_text):
    """Of a time that Ballast tells, since 1970."""
    return datetime.fromisoformat(time_text.replace("Z", "+00:00")).timestamp()


class Ballast:
    """One daemon. configuration: lines of ballastd.conf by section, {"limits": {"reserve": "256MiB"}}.

    neighbour: the other host that it serves; its files are in that one's directory, and its libvirt is that one's.
    """

    def __init__(self, host, configuration=None, environment=None, neighbour=None):
        self.host, self.neighbour = host, neighbour
        self.socket, self.file, self.log_name = SOCKET, "/etc/ballast/ballastd.conf", LOG
        configuration = configuration or {}
        if neighbour:
            self.socket, self.file = f"{neighbour.DIRECTORY}/ballastd.sock", f"{neighbour.DIRECTORY}/ballastd.conf"
            self.log_name = f"neighbour-{LOG}"
            configuration = {"daemon": {"socket": self.socket, "state_directory": f"{neighbour.DIRECTORY}/ballast-state",
                                        "run_directory": f"{neighbour.DIRECTORY}/ballast-run",
                                        "libvirt_uri": neighbour.URI, **configuration.pop("daemon", {})}, **configuration}
        self.daemon = os.path.join(paths.BUILD, "service/ballastd")
        self.program = os.path.join(paths.BUILD, "service/cli/ballastctl")
        self.environment = environment or {}
        self.process = None
        self.configuration = configuration
        self.configure(configuration)

    def configure(self, configuration):
        lines = []
        for section, keys in configuration.items():
            lines += [f"[{section}]"] + [f"{key} = {value}" for key, value in keys.items()]
        self.host.run(["mkdir", "-p", os.path.dirname(self.file)])
        self.host.write(self.file, "\n".join(lines) + "\n")

    # Life

    def start(self, wait=True, timeout=60):
        """Starts the daemon; with wait, until it serves and has libvirt."""
        self.host.run(["rm", "-f", self.socket])
        words = " ".join(f"{key}={value}" for key, value in self.environment.items())
        command = f"env {words} {self.daemon} --config {self.file}"
        if self.neighbour:
            command = self.neighbour.inside(command)
        self.process = self.host.spawn(f"exec {command} >>{self.host.RESULTS}/{self.log_name} 2>&1")
        if wait:
            wait_for(self.is_up, timeout, "ballastd with libvirt")

    def start_anew(self):
        """After the host has lost its power: its configuration is gone as well."""
        self.configure(self.configuration)
        self.start()

    def is_up(self):
        result = self.ctl("status", "--json", check=False)
        return result.rc == 0 and json.loads(result.out)["libvirt"]["state"] == "up"

    @property
    def pid(self):
        """Of the daemon inside the virtual host."""
        return int(self.host.out("cat /run/ballast/ballastd.pid 2>/dev/null || pidof ballastd").split()[0])

    def workers(self):
        """Process numbers of workers that live."""
        return [int(word) for word in self.host.run("pidof ballast-worker", check=False).out.split()]

    def kill(self, number=signal.SIGKILL):
        self.host.run(["kill", f"-{int(number)}", str(self.pid)])
        self.process.wait(30)

    def stop(self):
        self.kill(signal.SIGTERM)

    def log(self):
        return self.host.read(f"{self.host.RESULTS}/{self.log_name}")

    # Asking

    def ctl(self, *words, timeout=180, check=True):
        """Runs ballastctl; the Result has rc, out and err. check: rc must be 0."""
        return self.host.run([self.program, "--socket", self.socket, *map(str, words)], timeout=timeout, check=check)

    def ctl_json(self, *words, timeout=180, check=True):
        """The same with --json: the parsed object."""
        return json.loads(self.ctl("--json", *words, timeout=timeout, check=check).out)

    def curl(self, path, method="GET", body=None, headers=(), timeout=60):
        """(status, parsed body or text): the API itself."""
        words = ["curl", "-s", "--unix-socket", self.socket, "-X", method, "-w", "\n%{http_code}", f"http://localhost{path}"]
        for header in headers:
            words += ["-H", header]
        if body is not None:
            words += ["-H", "Content-Type: application/json", "-d", body if isinstance(body, str) else json.dumps(body)]
        text, _, status = self.host.run(words, timeout=timeout).out.rpartition("\n")
        try:
            return int(status), json.loads(text)
        except ValueError:
            return int(status), text

    def get(self, path):
        status, body = self.curl(path)
        if status != 200:
            raise AssertionError(f"GET {path}: {status} {body}")
        return body

    def guest(self, name, fresh=True):
        return self.get(f"/v1/guests/{name}" + ("?fresh=true" if fresh else ""))

    def operation(self, identity):
        return self.get(f"/v1/operations/{identity}")

    def wait_operation(self, identity, timeout=120, states=FINAL):
        """Waits until an operation is in one of the states, and returns it."""
        return wait_for(lambda: next((o for o in [self.operation(identity)] if o["state"] in states), None),
                        timeout, f"operation {identity} to be {' or '.join(states)}")

    def wait_agent(self, *names, timeout=90):
        """Waits until the agents of these guests are ready and have reported."""
        def ready():
            states = {g["name"]: g["agent"]["state"] for g in self.get("/v1/guests")["items"]}
            return all(states.get(name) == "ready" for name in names)
        wait_for(ready, timeout, f"agents of {', '.join(names)}", 0.5)
