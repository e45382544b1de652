# SPDX-License-Identifier: Apache-2.0
"""The management socket of the QEMU process that is the virtual host: what the hardware says."""

import json
import socket
import threading
import time


class QmpError(Exception):
    """QEMU refused a command, or does not answer."""


class Qmp:
    """Commands by execute(), and every event since the start in `events`."""

    def __init__(self, path, timeout=30):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        self._socket.connect(path)
        self._file = self._socket.makefile("r", encoding="utf-8")
        self._file.readline()
        self._socket.settimeout(None)
        self.events = []
        self._answers = {}
        self._changed = threading.Condition()
        self._lock = threading.Lock()
        self._number = 0
        self._gone = False
        threading.Thread(target=self._read, name="qmp", daemon=True).start()
        self.execute("qmp_capabilities")

    def _read(self):
        while True:
            try:
                line = self._file.readline()
            except (OSError, ValueError):
                line = ""
            with self._changed:
                if not line:
                    self._gone = True
                    self._changed.notify_all()
                    return
                message = json.loads(line)
                if "event" in message:
                    self.events.append(message)
                elif "id" in message:
                    self._answers[message["id"]] = message
                self._changed.notify_all()

    def execute(self, command, timeout=30, **arguments):
        """Runs a QMP command and returns what it returned. Underscores in argument names stand for hyphens."""
        with self._lock:
            self._number += 1
            number = self._number
            message = {"execute": command, "id": number,
                       "arguments": {name.replace("_", "-"): value for name, value in arguments.items()}}
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        with self._changed:
            if not self._changed.wait_for(lambda: number in self._answers or self._gone, timeout):
                raise QmpError(f"{command}: no answer in {timeout} s")
            answer = self._answers.pop(number, None)
        if answer is None:
            raise QmpError(f"{command}: QEMU is gone")
        if "error" in answer:
            raise QmpError(f"{command}: {answer['error']['desc']}")
        return answer["return"]

    def find_events(self, name, since=0, **data):
        """The events of this name with these data fields, from the `since`-th of all events on."""
        with self._changed:
            return [event for event in self.events[since:] if event["event"] == name and
                    all(event.get("data", {}).get(key) == value for key, value in data.items())]

    def wait_event(self, name, timeout=60, since=0, **data):
        """The first such event, waiting for it if need be. `since`: an earlier len(qmp.events)."""
        end = time.monotonic() + timeout
        while True:
            found = self.find_events(name, since, **data)
            if found:
                return found[0]
            with self._changed:
                left = end - time.monotonic()
                if self._gone or left <= 0 or not self._changed.wait(left):
                    if not self.find_events(name, since, **data):
                        raise QmpError(f"no {name} {data or ''} from QEMU in {timeout} s")

    def close(self):
        self._socket.close()
