#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs one ballast-worker with one job, inside the virtual host, without a daemon.

    one_worker.py PROGRAM JOB [SAY]

JOB is the JSON of a job. SAY is a JSON list of [after_ms, message]: what is said to the worker so long after its start.
Prints JSON: the result, when each message came, and what was done by then.
"""

import json
import os
import select
import socket
import sys
import time


def spawn(program, channel, lock):
    pid = os.fork()
    if pid == 0:
        # The numbers that the worker expects them at.
        a, b = os.dup(channel), os.dup(lock)
        os.dup2(a, 3)
        os.dup2(b, 4)
        os.execv(program, [program])
    return pid


def main():
    program, job = sys.argv[1], json.loads(sys.argv[2])
    say = sorted(json.loads(sys.argv[3])) if len(sys.argv) > 3 else []
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    lock = os.open(f"/tmp/one-worker-{os.getpid()}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    for number in (theirs.fileno(), lock):
        os.set_inheritable(number, True)
    spawned = time.monotonic()
    pid = spawn(program, theirs.fileno(), lock)
    theirs.close()
    json.loads(ours.recv(1 << 16))
    started = time.monotonic()
    ours.send(json.dumps({"v": 1, "type": "start", "job": job}).encode())
    progress, text, result = [], "", None
    while result is None:
        wait = max(0, started + say[0][0] / 1000 - time.monotonic()) if say else None
        if not select.select([ours], [], [], wait)[0]:
            _, message = say.pop(0)
            progress.append({"ms": round(1000 * (time.monotonic() - started)), "said": message["type"]})
            ours.send(json.dumps({"v": 1} | message).encode())
            continue
        packet = ours.recv(1 << 17)
        if not packet:
            break
        message = json.loads(packet)
        if "part" in message:
            text += message["part"]
            if not message["last"]:
                continue
            message, text = json.loads(text), ""
        if message["type"] == "progress":
            progress.append({"ms": round(1000 * (time.monotonic() - started)), "done_bytes": message["done_bytes"]})
        elif message["type"] == "result":
            result = message["result"]
    ended = time.monotonic()
    os.waitpid(pid, 0)
    print(json.dumps({"start_ms": round(1000 * (started - spawned)), "ms": round(1000 * (ended - started)),
                      "progress": progress, "result": result}))


if __name__ == "__main__":
    main()
