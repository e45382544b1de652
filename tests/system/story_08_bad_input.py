#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 8: whatever is asked wrongly, configured wrongly or told by a hostile guest: a clear error, and nothing changed."""

import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import ballast as codes  # noqa: E402
import old_peers  # noqa: E402
from ballast import Ballast  # noqa: E402
from testbed import evidence, paths  # noqa: E402
from testbed.guest import AGENT_PORT, Guest, VirtioMem, start_guests  # noqa: E402
from testbed.story import (ALL_CASES, booted_host, check, check_at_least, check_at_most, check_equal, main,  # noqa: E402
                           story, wait_for)
from testbed.virtual_host import Node  # noqa: E402

MIB = 1 << 20
KIB = 1 << 10
SMALL_NODE_MIB = 256
PORT = f"/dev/virtio-ports/{AGENT_PORT}"


class Http:
    """Requests in bytes, written by hand: what a client library would never send."""

    def __init__(self, host):
        self.host = host

    def open(self, request):
        stream = self.host.connect(codes.SOCKET)
        if request:
            stream.sendall(request)
        return stream

    @staticmethod
    def read(stream, timeout=30):
        """(status, headers, parsed body) of one reply."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = stream.recv(65536, timeout)
            check(more, f"a reply before the end of the connection, after {data!r}")
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {key.lower(): value for key, value in (line.split(": ", 1) for line in lines[1:])}
        while len(body) < int(headers["content-length"]):
            body += stream.recv(65536, timeout)
        check_equal(len(body), int(headers["content-length"]), f"length of the body of {lines[0]}")
        return int(lines[0].split()[1]), headers, json.loads(body) if "json" in headers["content-type"] else body

    @staticmethod
    def is_closed(stream, timeout=15):
        """The daemon says nothing more, and closes."""
        return stream.recv(65536, timeout) == b""

    def ask(self, method, path, body=None, headers=(), content_type="application/json"):
        """One ordinary request."""
        body = body.encode() if isinstance(body, str) else json.dumps(body).encode() if isinstance(body, dict) else body
        lines = [f"{method} {path} HTTP/1.1", "Host: ballast", "Connection: close", *headers]
        if body is not None:
            lines += [f"Content-Length: {len(body)}", f"Content-Type: {content_type}"]
        stream = self.open("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))
        reply = self.read(stream)
        stream.close()
        return reply


class Scene:
    """Two guests, the daemon, and how things stand by evidence that is not Ballast's own."""

    def __init__(self, host, tell):
        self.host, self.tell = host, tell
        self.good = Guest(host, "g1", 384, nodes="1", virtio_mem=[VirtioMem(1024)])
        # Its agent is ours to play.
        self.evil = Guest(host, "evil", 256, nodes="0", virtio_mem=[VirtioMem(512)], agent="channel")
        self.ballast = Ballast(host, {"limits": {"reserve": "256MiB", "flat_ms": 15000}})
        self.http = Http(host)

    def facts(self):
        """What no refused request may change."""
        found = {"blocks": evidence.blocks(self.host)}
        for guest in (self.good, self.evil):
            found[guest.name] = (guest.virtio_mem_sizes(), sorted(evidence.guest_bytes_by_node(guest)),
                                 sorted(evidence.guest_policies(guest)))
        return found

    def operations(self):
        return self.ballast.get("/v1/operations?page_size=500")["items"]

    def check_unchanged(self, before, operations, what):
        check_equal(self.facts(), before, f"state of host and guests after {what}")
        check_equal([o["id"] for o in self.operations()], operations, f"operations after {what}")

    def anonymous_bytes(self):
        for line in self.host.read(f"/proc/{self.ballast.pid}/status").splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * KIB
        raise KeyError("RssAnon")

    def cpu_seconds(self):
        fields = self.host.read(f"/proc/{self.ballast.pid}/stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def cpu_share(self, seconds):
        """Of one CPU, that the daemon takes for so long."""
        began, before = time.monotonic(), self.cpu_seconds()
        time.sleep(seconds)
        return (self.cpu_seconds() - before) / (time.monotonic() - began)

    def refused(self, method, path, body, status, code, *words, headers=(), content_type="application/json"):
        """The request is answered with this problem, whose detail (or blockers) hold the words."""
        what = f"{method} {path} {str(body)[:80]}"
        got, reply_headers, problem = self.http.ask(method, path, body, headers, content_type)
        check_equal((got, problem.get("code")), (status, code), f"{what}: {problem}")
        check_equal(reply_headers["content-type"], "application/problem+json", f"type of the answer to {what}")
        check_equal((problem["type"], problem["status"]), ("about:blank", status), f"problem of {what}")
        check(problem["title"] and problem["detail"], f"{what}: title and detail are there: {problem}")
        text = json.dumps([problem["detail"], problem.get("blockers")])
        for word in words:
            check(word in text, f"{what}: '{word}' stands in {text}")
        return problem


# Before the daemon runs

def bad_configuration(scene):
    """The daemon does not start, and says file, line and what would be right."""
    host, daemon = scene.host, scene.ballast.daemon
    cases = [
        ("[limits]\nreserve = 256MiB\nreserv = 1GiB\n", 3, ("reserv ", "did you mean reserve in [limits]")),
        ("[daemon]\nstall_us = 5\n", 2, ("stall_us", "did you mean stall_us in [limits]")),
        ("# a word\n[daemon]\ncolour_of_the_socket = red\n", 3, ("colour_of_the_socket", "ballastd.conf(5)")),
        ("[daemon]\nmode = perhaps\n", 2, ("mode = perhaps", "act or observe")),
        ("[limits]\nreserve = 12parsecs\n", 2, ("12parsecs", "512MiB")),
        ("[daemon]\nworkers = 0\n", 2, ("workers = 0", "from 1 to 64")),
        ("[daemon]\nworkers = 4x\n", 2, ("workers = 4x", "whole number")),
        ("[daemon]\nsocket = here.sock\n", 2, ("here.sock", "begins with /")),
        ("[daemon]\nthis is no line\n", 2, ("key = value",)),
        ("[hints]\nfinish = eject\n", 2, ("finish = eject", "cordon, empty or offline")),
    ]
    path = "/tmp/bad.conf"
    for text, line, words in cases:
        host.write(path, text)
        result = host.run([daemon, "-c", path], check=False, timeout=20)
        check_equal(result.rc, 1, f"status of ballastd with {text!r} ({result.err})")
        for word in (f"{path}:{line}:", *words):
            check(word in result.err, f"'{word}' stands in: {result.err}")
    result = host.run(f"mkdir {path}.d; echo '[daemon]' >{path}.d/50-more.conf; echo 'wrokers = 3' >>{path}.d/50-more.conf; "
                      f"echo >{path}; exec {daemon} -c {path}", check=False, timeout=20)
    check(result.rc == 1 and f"{path}.d/50-more.conf:2:" in result.err and "workers" in result.err,
          f"a drop-in is named as well: {result}")
    result = host.run([daemon, "-c", "/tmp/nowhere.conf"], check=False, timeout=20)
    check(result.rc == 1 and "/tmp/nowhere.conf" in result.err, f"a file that is not there: {result}")
    check_equal(host.run([daemon, "--colour"], check=False, timeout=20).rc, 2, "status with an unknown option")
    check(not host.exists(codes.SOCKET), "no socket was made")
    scene.tell(f"{len(cases) + 2} bad configurations: not started, with file, line and what would be right")


def no_libvirt(scene):
    """The daemon starts without libvirt, says so, and finds it by itself."""
    host, ballast, http = scene.host, scene.ballast, scene.http
    host.run("kill -9 $(cat /run/libvirtd.pid)")
    ballast.start(wait=False)
    wait_for(lambda: host.exists(codes.SOCKET), 30, "the daemon's socket")
    check_equal(http.ask("GET", "/healthz")[0], 200, "/healthz without libvirt")
    scene.refused("GET", "/readyz", None, 503, "libvirt_down", "libvirt")
    scene.refused("PATCH", "/v1/guests/g1/memory", {"target_bytes": 640 * MIB}, 503, "libvirt_down", "libvirt")
    scene.refused("PATCH", "/v1/guests/g1/placement", {"nodes": [0]}, 503, "libvirt_down", "libvirt")
    status, _, body = http.ask("GET", "/v1/host")
    check_equal((status, body["libvirt"]["state"], body["can"]["resize"]["able"]), (200, "down", "no"), "/v1/host")
    check(body["libvirt"]["reason"], f"the reason stands in {body['libvirt']}")
    check_equal(http.ask("GET", "/v1/nodes?fresh=true")[0], 200, "/v1/nodes without libvirt")
    result = ballast.ctl("resize", "g1", "640MiB", check=False)
    check(result.rc == codes.FAILED and "libvirt" in result.err, f"ballastctl resize: {result}")
    host.restart_libvirt(kill_signal=0)
    wait_for(ballast.is_up, 60, "ballastd to find libvirt by itself")
    wait_for(lambda: http.ask("GET", "/readyz")[0] == 200, 30, "/readyz to be 200")
    scene.tell("without libvirt: up, 503 with the reason; libvirt came, and it connected by itself")


# Requests

def malformed_requests(scene):
    """Not JSON, not the right JSON, not for here."""
    memory, placement, gib = "/v1/guests/g1/memory", "/v1/guests/g1/placement", 1 << 30
    cases = [
        ("PATCH", memory, '{"target_bytes":', 400, "malformed_json", "line 1"),
        ("PATCH", memory, b'{"target_bytes": 1\x00}', 400, "malformed_json"),
        ("PATCH", memory, b'{"target\xff": 1}', 400, "malformed_json"),
        ("PATCH", memory, '{"target_bytes": 1, "target_bytes": 2}', 400, "malformed_json", "target_bytes"),
        ("PATCH", memory, '{"target_bytes": 99999999999999999999}', 400, "malformed_json"),
        ("PATCH", memory, "[" * 5000, 400, "malformed_json", "nests"),
        ("PATCH", memory, '{"target_bytes": 1073741824} {}', 400, "malformed_json"),
        ("PATCH", memory, None, 400, "invalid_body", "needs a body"),
        ("PATCH", memory, "[]", 400, "invalid_body", "object"),
        ("PATCH", memory, "{}", 400, "invalid_body", "target_bytes, devices, cells"),
        ("PATCH", memory, {"target_bytes": "1GiB"}, 400, "invalid_body", "/target_bytes", "integer", "bytes"),
        ("PATCH", memory, {"target_bytes": 1.5e9}, 400, "invalid_body", "/target_bytes", "integer"),
        ("PATCH", memory, {"target_bytes": -gib}, 400, "invalid_body", "/target_bytes"),
        ("PATCH", memory, {"target_bytes": True}, 400, "invalid_body", "/target_bytes"),
        ("PATCH", memory, {"target_bytes": gib, "shrink": True}, 400, "invalid_body", "/shrink", "no field"),
        ("PATCH", memory, {"target_bytes": gib, "devices": []}, 400, "invalid_body", "/devices"),
        ("PATCH", memory, {"target_bytes": gib, "timeout_s": 0}, 400, "invalid_body", "/timeout_s"),
        ("PATCH", memory, {"target_bytes": gib, "on_timeout": "later"}, 400, "invalid_body", "stop, restore or continue"),
        ("PATCH", memory, {"target_bytes": gib, "allow": ["everything"]}, 400, "invalid_body", "/allow/0", "stored_xml"),
        ("PATCH", memory, {"devices": [{"alias": "ua-x"}]}, 400, "invalid_body", "/devices/0/requested_bytes", "missing"),
        ("PATCH", placement, {"nodes": [0], "map": {"1": 0}}, 400, "invalid_body", "exactly one"),
        ("PATCH", placement, {"nodes": ["0"]}, 400, "invalid_body", "/nodes/0"),
        ("PATCH", placement, {"nodes": []}, 400, "invalid_body", "/nodes"),
        ("PATCH", placement, {"nodes": [4096]}, 400, "invalid_body", "/nodes/0"),
        ("PATCH", placement, {"map": {"one": 2}}, 400, "invalid_body", "/map", "numbers"),
        ("PATCH", placement, {"nodes": [0], "budget": {"bytes_per_s": 0}}, 400, "invalid_body", "/budget/bytes_per_s"),
        ("PUT", "/v1/guests/g1/policy", {"minimum_bytes": 2, "maximum_bytes": 1}, 400, "invalid_body", "maximum_bytes"),
        ("POST", "/v1/drains", {"finish": "offline"}, 400, "invalid_body", "/target", "missing"),
        ("POST", "/v1/drains", {"target": {"node": 3}, "finish": "burn"}, 400, "invalid_body", "cordon, empty, offline"),
        ("POST", "/v1/drains", {"target": {"node": 3, "dimm": "x"}, "finish": "offline"}, 400, "invalid_body", "/target"),
        ("POST", "/v1/drains", {"target": {"start": 8, "end": 4}, "finish": "offline"}, 400, "invalid_body", "/target/end"),
        ("POST", "/v1/drains", {"target": {"node": 3}, "finish": "offline", "not_before": "tomorrow, at noon 00"}, 400,
         "invalid_body", "/not_before"),
        ("POST", "/v1/drains", {"target": {"node": 3}, "finish": "offline", "not_before": "2020-01-31T12:00:00Z"}, 400,
         "invalid_body", "not_before is over"),
        ("POST", "/v1/hints", {"risk": "high"}, 400, "invalid_body", "physical_address, dimm"),
        ("POST", "/v1/hints", {"physical_address": "0x40", "risk": "high"}, 400, "invalid_body", "/physical_address"),
        ("POST", "/v1/hints", {"physical_address": 64, "risk": "dire"}, 400, "invalid_body", "low, high or uncorrected"),
        ("GET", "/v1/guests?fresh=maybe", None, 400, "invalid_query", "true or false"),
        ("GET", "/v1/guests?colour=red", None, 400, "invalid_query", "colour", "fresh"),
        ("GET", "/v1/guests?page=zzz", None, 400, "invalid_query", "page"),
        ("PATCH", memory + "?expect_plan=nothex", {"target_bytes": gib}, 400, "invalid_query", "expect_plan"),
        ("GET", "/v1/guests", "{}", 400, "unexpected_body"),
        ("DELETE", "/v1/guests/g1", None, 405, "method_not_allowed", "GET"),
        ("BREW", "/v1/guests/g1", None, 405, "method_not_allowed", "GET"),
        ("GET", "/v2/guests", None, 404, "not_found"),
        ("GET", "/v1/guests/g1/memory/", None, 404, "not_found"),
        ("GET", "/v1/guests/..%2fnodes", None, 404, "unknown_guest"),
    ]
    for case in cases:
        scene.refused(*case)
    scene.refused("PATCH", memory, {"target_bytes": gib}, 415, "not_json", "application/json", content_type="text/plain")
    scene.refused("PATCH", memory, {"target_bytes": gib}, 400, "invalid_header", "Idempotency-Key",
                  headers=["Idempotency-Key: two words"])
    scene.refused("PATCH", memory, {"target_bytes": gib}, 412, "precondition_failed", headers=['If-Match: "1-not-it"'])
    scene.tell(f"{len(cases) + 3} malformed requests: each refused with its code and what is wrong")


def unknown_things(scene):
    """Guests, nodes, DIMMs, drains and operations that there are not."""
    cases = [
        ("GET", "/v1/guests/nobody", None, "unknown_guest"),
        ("PATCH", "/v1/guests/nobody/memory", {"target_bytes": 1 << 30}, "unknown_guest"),
        ("PATCH", "/v1/guests/nobody/placement", {"nodes": [1]}, "unknown_guest"),
        ("PUT", "/v1/guests/nobody/policy", {"priority": 1}, "unknown_guest"),
        ("POST", "/v1/guests/nobody/agent", None, "unknown_guest"),
        ("GET", "/v1/nodes/9", None, "unknown_node"),
        ("GET", "/v1/nodes/one", None, "unknown_node"),
        ("GET", "/v1/dimms/P9-Z9", None, "unknown_dimm"),
        ("GET", "/v1/drains/dr-none", None, "unknown_drain"),
        ("DELETE", "/v1/drains/dr-none", None, "unknown_drain"),
        ("GET", "/v1/operations/op-none", None, "unknown_operation"),
        ("POST", "/v1/operations/op-none/cancel", None, "unknown_operation"),
        ("POST", "/v1/operations/op-none/pause", None, "unknown_operation"),
        ("POST", "/v1/operations/" + "x" * 120 + "/resume", None, "unknown_operation"),
        ("PATCH", "/v1/guests/g1/placement", {"nodes": [9]}, "unknown_node"),
        ("PATCH", "/v1/guests/g1/placement?dry_run=true", {"map": {"9": 0}}, "unknown_node"),
        ("POST", "/v1/drains", {"target": {"node": 9}, "finish": "offline"}, "unknown_node"),
        ("POST", "/v1/drains", {"target": {"dimm": "P9-Z9"}, "finish": "eject"}, "unknown_dimm"),
        ("GET", "/v1/holders?dimm=P9-Z9", None, "unknown_dimm"),
        ("POST", "/v1/hints", {"dimm": "P9-Z9", "risk": "low"}, "unknown_dimm"),
    ]
    for method, path, body, code in cases:
        scene.refused(method, path, body, 404, code)
    scene.tell(f"{len(cases)} questions about what there is not: 404 with its code")


def impossible_wishes(scene):
    """Well-formed, and impossible: 422 with the numbers and the way out."""
    http, good = scene.http, scene.good
    memory, placement = "/v1/guests/g1/memory", "/v1/guests/g1/placement"
    alias = good.virtio_mem_sizes()[0]["alias"]
    scene.refused("PATCH", memory, {"target_bytes": 385 * MIB}, 422, "not_block_multiple", "2 MiB", "384 MiB or 386 MiB")
    scene.refused("PATCH", memory, {"target_bytes": 640 * MIB + 1}, 422, "not_block_multiple", "2 MiB")
    scene.refused("PATCH", memory, {"target_bytes": 1410 * MIB}, 422, "above_maximum", "1410 MiB", "1408 MiB")
    scene.refused("PATCH", memory, {"target_bytes": (1 << 63) - MIB * 2}, 422, "above_maximum", "1408 MiB")
    scene.refused("PATCH", memory, {"target_bytes": 382 * MIB}, 422, "below_base", "382 MiB", "384 MiB")
    scene.refused("PATCH", memory, {"target_bytes": 1}, 422, "below_base", "384 MiB")
    scene.refused("PATCH", memory, {"devices": [{"alias": alias, "requested_bytes": 3 * MIB}]}, 422, "not_block_multiple")
    scene.refused("PATCH", memory, {"devices": [{"alias": "nothing", "requested_bytes": 0}]}, 422, "no_memory_device", "nothing")
    scene.refused("PATCH", memory, {"cells": [{"cell": 5, "target_bytes": 1 << 30}]}, 422, "invalid_target", "cell 5")
    # The floor that the guest's owner has set: itself a change, taken back below.
    status, _, body = http.ask("PUT", "/v1/guests/g1/policy", {"minimum_bytes": 600 * MIB})
    check_equal((status, body.get("minimum_bytes")), (200, 600 * MIB), f"policy of g1: {body}")
    scene.refused("PATCH", memory, {"target_bytes": 512 * MIB}, 422, "below_floor", "512 MiB", "600 MiB")
    check_equal(http.ask("PUT", "/v1/guests/g1/policy", {"minimum_bytes": None})[0], 200, "policy of g1 taken back")
    # No room, with the numbers of both sides.
    problem = scene.refused("PATCH", placement, {"nodes": [2]}, 422, "no_room", "node 2", "MiB", "reserve")
    blocker = problem["blockers"][0]
    check_at_least(blocker["bytes"], 16 * MIB, f"missing bytes of {blocker}")
    check("guest g1" in blocker["object"] and blocker["way_out"], f"blocker names the guest and a way out: {blocker}")
    # Node 0 is where the kernel lives: its first block not even in one zone, and node 1 is no better.
    for node, finish, code in ((0, "offline", "not_movable"), (0, "eject", "not_movable"), (1, "offline", "kernel_memory")):
        problem = scene.refused("POST", "/v1/drains", {"target": {"node": node}, "finish": finish}, 422, code,
                                "where the kernel keeps its own memory", "movable_node")
        kernel = [b for b in problem["blockers"] if b["code"] == "kernel_memory"]
        check(kernel and all(b["object"].startswith("block") and b["way_out"] and b["bytes"] for b in kernel),
              f"the blocks and the way out are named: {problem['blockers']}")
    size = int(scene.host.read("/sys/devices/system/memory/block_size_bytes"), 16)
    scene.refused("POST", "/v1/drains", {"target": {"start": size // 2, "end": size}, "finish": "offline"}, 422,
                  "not_block_multiple")
    scene.refused("POST", "/v1/drains", {"target": {"start": size << 20, "end": (size << 20) + size}, "finish": "offline"}, 422,
                  "invalid_target", "no memory")
    scene.refused("POST", "/v1/hints", {"physical_address": 1 << 50, "risk": "uncorrected"}, 422, "invalid_target", "no memory")
    dimm = next(d["id"] for d in scene.ballast.get("/v1/dimms")["items"] if d["state"] != "absent")
    span = evidence.dimm_range(scene.host, "dimm1")
    scene.refused("POST", "/v1/drains", {"target": {"start": span[0], "end": span[1] + 1}, "finish": "eject"}, 422,
                  "not_ejectable")
    # The digest of another plan.
    for path, body in ((memory, {"target_bytes": 768 * MIB}), (placement, {"nodes": [0]})):
        method = "PATCH"
        problem = scene.refused(method, path + "?expect_plan=0000", body, 412, "plan_changed", "0000")
        check(problem["plan"]["digest"] in problem["detail"], f"the new plan is told: {problem}")
    problem = scene.refused("POST", "/v1/drains?expect_plan=0000", {"target": {"dimm": dimm}, "finish": "offline"}, 412,
                            "plan_changed", "0000")
    check(problem["plan"]["steps"], f"the new plan of the drain is told: {problem}")
    scene.tell("impossible wishes: refused with numbers and the way out")


def owners_metadata(scene):
    """The policy as its owner writes it into the metadata by himself: it counts, or is told and nothing is done to the guest."""
    host, http, ballast = scene.host, scene.http, scene.ballast
    memory, placement = "/v1/guests/g1/memory", "/v1/guests/g1/placement"

    def write(element):
        host.virsh("metadata", "g1", "urn:ballast:memory:1", "--live", "--config", "--key", "ballast", "--set", element)

    def policy():
        return ballast.get("/v1/guests/g1/policy")
    write("<policy minimum_bytes='600MiB'/>")
    wait_for(lambda: policy()["minimum_bytes"] == 600 * MIB, 30, "the owner's minimum to be seen")
    scene.refused("PATCH", memory, {"target_bytes": 512 * MIB}, 422, "below_floor", "512 MiB", "600 MiB")
    write("<policy minimum_bytes='600MiB' allowed_nodes='one'/>")
    wait_for(lambda: policy()["fault"], 30, "the fault to be seen")
    for path, body in ((memory, {"target_bytes": 512 * MIB}), (memory, {"target_bytes": 768 * MIB}), (placement, {"nodes": [0]})):
        scene.refused("PATCH", path, body, 422, "policy_unreadable", "allowed_nodes", "virsh metadata")
    result = ballast.ctl("policy", "g1", "--priority", "5", check=False)
    check(result.rc == codes.REFUSED and "allowed_nodes" in result.err, f"what cannot be read is not written over: {result}")
    check("allowed_nodes" in ballast.ctl("guest", "g1").out, "ballastctl guest tells of it")
    # All of it anew, by the API: what stands in the domain then is what libvirt's own tools show.
    status, _, body = http.ask("PUT", "/v1/guests/g1/policy", {"minimum_bytes": 400 * MIB})
    check_equal((status, body.get("minimum_bytes"), body.get("fault")), (200, 400 * MIB, None), f"policy of g1: {body}")
    for stored in ((), ("--inactive",)):
        check(f'minimum_bytes="{400 * MIB}"' in host.virsh("dumpxml", "g1", *stored).out, f"the policy in dumpxml {stored}")
    host.virsh("metadata", "g1", "urn:ballast:memory:1", "--live", "--config", "--remove")
    wait_for(lambda: policy()["minimum_bytes"] is None, 30, "the policy to be gone")
    scene.tell("the owner's metadata: a minimum counts; one that cannot be read is told, and its guest neither resized nor moved")


def no_room_to_grow(scene):
    """The host has not enough memory on the guest's node: refused with the numbers, before anything is asked."""
    host, good = scene.host, scene.good
    spare = evidence.node_meminfo(host, 1)["MemFree"] // MIB - 600
    # Reserve 256 MiB, and 768 are to come.
    host.run("mkdir /run/full && mount -t tmpfs -o size=4g,mpol=bind:1 full /run/full && "
             f"head -c {spare}M /dev/zero >/run/full/bytes", 120)
    sizes = good.virtio_mem_sizes()
    problem = scene.refused("PATCH", "/v1/guests/g1/memory", {"target_bytes": 1408 * MIB}, 422, "no_room", "node 1", "MiB")
    blocker = problem["blockers"][0]
    check_at_least(blocker["bytes"], 64 * MIB, f"missing bytes of {blocker}")
    check(blocker["way_out"], f"and a way out: {blocker}")
    check_equal(good.virtio_mem_sizes(), sizes, "nothing was asked of the guest")
    host.run("umount /run/full && rmdir /run/full")
    status, _, plan = scene.http.ask("PATCH", "/v1/guests/g1/memory?dry_run=true", {"target_bytes": 1408 * MIB})
    check_equal((status, plan.get("blockers")), (200, []), f"with the memory back there is room: {plan}")
    scene.tell(f"no room to grow: {blocker['detail']}")


def smuggled_requests(scene):
    """Two readers may split these differently. One answer, the connection is closed, the hidden request is never read."""
    http = scene.http
    hidden = (b'PATCH /v1/guests/g1/memory HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\n'
              b'Content-Length: 26\r\n\r\n{"target_bytes":805306368}')
    assert hidden.endswith(b"}") and len(hidden.partition(b"\r\n\r\n")[2]) == 26
    post = b"POST /v1/checks HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\n"
    cases = [
        ("Content-Length and Transfer-Encoding", post + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("the other way round", post + b"Transfer-Encoding: chunked\r\nContent-Length: 400\r\n\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding alone", post + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 411),
        ("a chunk's size with a sign", post + b"Transfer-Encoding: chunked\r\n\r\n+2;x=\n\r\n{}\r\n0\r\n\r\n", 411),
        ("a chunk's size too large", post + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff2\r\n{}\r\n0\r\n\r\n", 411),
        ("identity", post + b"Transfer-Encoding: identity\r\n\r\n", 411),
        ("two encodings", post + b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("a blank before the colon", post + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
        ("a folded header", post + b"X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("two lengths alike", post + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400),
        ("two lengths", post + b"Content-Length: 2\r\nContent-Length: 0\r\n\r\n{}", 400),
        ("a list of lengths", post + b"Content-Length: 2, 2\r\n\r\n{}", 400),
        ("a length with a sign", post + b"Content-Length: +2\r\n\r\n{}", 400),
        ("a negative length", post + b"Content-Length: -2\r\n\r\n{}", 400),
        ("a length in hexadecimal", post + b"Content-Length: 0x2\r\n\r\n{}", 400),
        ("an empty length", post + b"Content-Length:\r\n\r\n", 400),
        ("a length of 20 digits", post + b"Content-Length: 18446744073709551618\r\n\r\n{}", 413),
        ("a bare LF", post.replace(b"\r\n", b"\n") + b"Content-Length: 2\n\n{}", 400),
        ("one bare LF", post + b"X: y\nContent-Length: 2\r\n\r\n{}", 400),
        ("a bare CR", post + b"X: y\rContent-Length: 2\r\n\r\n{}", 400),
        ("a NUL in a header", post + b"X: \x00\r\nContent-Length: 2\r\n\r\n{}", 400),
        ("%00 in the path", b"GET /v1/guests/g1%00.json HTTP/1.1\r\nHost: b\r\n\r\n", 400),
        ("%00 in the query", b"GET /v1/guests?page=%00 HTTP/1.1\r\nHost: b\r\n\r\n", 400),
        ("%0d%0a in the path", b"GET /v1/guests/x%0d%0aY:%20z HTTP/1.1\r\nHost: b\r\n\r\n", 400),
        ("half an escape", b"GET /v1/guests/%4 HTTP/1.1\r\nHost: b\r\n\r\n", 400),
        ("overlong UTF-8", b"GET /v1/guests/%c0%af HTTP/1.1\r\nHost: b\r\n\r\n", 400),
        ("a whole address as the target", b"GET http://elsewhere/v1/guests HTTP/1.1\r\nHost: b\r\n\r\n", 400),
        ("two blanks", b"GET  /v1/guests HTTP/1.1\r\nHost: b\r\n\r\n", 400),
        ("HTTP/0.9", b"GET /v1/guests\r\n\r\n", 400),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("no Host", b"GET /v1/guests HTTP/1.1\r\n\r\n", 400),
        ("two Hosts", b"GET /v1/guests HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("no HTTP at all", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        ("a long target", b"GET /" + b"x" * 4000 + b" HTTP/1.1\r\nHost: b\r\n\r\n", 414),
        ("long headers", b"GET / HTTP/1.1\r\nHost: b\r\n" + b"X: " + b"y" * 17000 + b"\r\n\r\n", 431),
        ("many headers", b"GET / HTTP/1.1\r\nHost: b\r\n" + b"X: y\r\n" * 100 + b"\r\n", 431),
        ("a large body", post + b"Content-Length: 1048577\r\n\r\n" + b" " * 40000, 413),
        ("an expectation", post + b"Expect: a-miracle\r\nContent-Length: 2\r\n\r\n{}", 417),
    ]
    for name, request, status in cases:
        stream = http.open(request + hidden)
        got, headers, problem = http.read(stream)
        check_equal((got, headers["connection"]), (status, "close"), f"{name}: {problem}")
        check(problem["detail"], f"{name}: says why: {problem}")
        check(http.is_closed(stream), f"{name}: one answer, then the end")
        stream.close()
    # A body of exactly the largest size is read, and judged as JSON.
    check_equal(http.ask("POST", "/v1/checks", b" " * MIB)[2]["code"], "malformed_json", "a body of 1 MiB")
    # What comes unasked behind a whole request is not a request.
    stream = http.open(b"GET /healthz HTTP/1.1\r\nHost: b\r\n\r\n" + hidden)
    check_equal(http.read(stream)[0], 200, "the first of two requests sent at once")
    check(http.is_closed(stream), "the second of two requests sent at once is not read")
    stream.close()
    scene.tell(f"{len(cases) + 1} smuggled requests: one answer each, the connection closed, the hidden request not read")


def command_line(scene):
    """ballastctl: its exit codes, and that it says what is wrong."""
    ballast, host = scene.ballast, scene.host
    cases = [
        (codes.USAGE, (), "a command is missing"),
        (codes.USAGE, ("fly",), "there is no command fly"),
        (codes.USAGE, ("--colour", "nodes"), "colour"),
        (codes.USAGE, ("resize", "g1", "much"), "much is no size"),
        (codes.USAGE, ("resize", "g1", "1GiB", "--timeout", "soon"), "soon"),
        (codes.USAGE, ("move", "g1", "--to", "1..2"), "0-1,3"),
        (codes.USAGE, ("drain",), "--dimm"),
        (codes.USAGE, ("drain", "--range", "5-3"), "START-END"),
        (codes.USAGE, ("--socket", "/x", "--url", "http://y", "nodes"), "exclude"),
        (codes.FAILED, ("guest", "nobody"), "nobody"),
        (codes.FAILED, ("operation", "no such"), "no such"),
        (codes.FAILED, ("undrain", "no such/thing"), "no such"),
        (codes.FAILED, ("drain", "--dimm", "P9-Z9"), "P9-Z9"),
        (codes.REFUSED, ("resize", "g1", "385MiB"), "384 MiB or 386 MiB"),
        (codes.REFUSED, ("move", "g1", "--to", "2"), "node 2"),
        (codes.REFUSED, ("drain", "--node", "0", "--offline"), "kernel"),
        (codes.REFUSED, ("drain", "--node", "0", "--offline", "--dry-run"), "kernel"),
        (codes.UNREACHABLE, ("--socket", "/run/nowhere.sock", "nodes"), "/run/nowhere.sock"),
        (codes.PLAN_CHANGED, ("resize", "g1", "768MiB", "--expect-plan", "0000"), "0000"),
        (codes.FAILED, ("resize", "g1", "768MiB", "--expect-plan", "not hex"), "expect_plan"),
        (codes.DONE, ("resize", "g1", "640MiB"), "so already"),
        (codes.DONE, ("resize", "g1", "768MiB", "--dry-run"), "Nothing changed"),
    ]
    for rc, words, said in cases:
        result = ballast.ctl(*words, check=False)
        check_equal(result.rc, rc, f"status of ballastctl {' '.join(words)}: {result}")
        check(said in result.out + result.err, f"ballastctl {' '.join(words)} says '{said}': {result}")
        check(rc not in (codes.USAGE, codes.UNREACHABLE) or not result.out, f"its error goes to standard error: {result}")
    problem = json.loads(ballast.ctl("--json", "resize", "g1", "385MiB", check=False).out)
    check_equal(problem["code"], "not_block_multiple", "the problem itself with --json")
    check_equal(host.run([ballast.program, "--help"]).rc, codes.DONE, "--help")
    scene.tell(f"{len(cases)} command lines: each with its exit code and a word of what is wrong")


# Two at once

def busy_guest(scene):
    """One operation at a time on a guest; keys; cancel with undo."""
    http, ballast, good = scene.http, scene.ballast, scene.good
    placement, memory = "/v1/guests/g1/placement", "/v1/guests/g1/memory"
    wish = {"nodes": [0], "budget": {"bytes_per_s": 8 * MIB}, "timeout_s": 120}
    key = ["Idempotency-Key: story-8"]
    status, headers, first = http.ask("PATCH", placement, wish, key)
    check_equal((status, headers["location"]), (202, f"/v1/operations/{first['id']}"), f"a slow move: {first}")
    status, _, again = http.ask("PATCH", placement, wish, key)
    check_equal((status, again["id"]), (202, first["id"]), "the same request with the same key")
    scene.refused("PATCH", placement, wish | {"timeout_s": 121}, 422, "idempotency_key_misused", headers=key)
    scene.refused("PATCH", "/v1/guests/evil/placement", wish, 422, "idempotency_key_misused", headers=key)
    for path, body in ((placement, {"nodes": [0]}), (memory, {"target_bytes": 768 * MIB})):
        problem = scene.refused("PATCH", path, body, 409, "operation_in_progress", first["id"], "move", "g1")
        check_equal(problem["operation"], first["id"], "the operation in the way")
    result = ballast.ctl("resize", "g1", "768MiB", check=False)
    check(result.rc == codes.REFUSED and first["id"] in result.err, f"ballastctl resize of a busy guest: {result}")
    scene.refused("POST", f"/v1/operations/{first['id']}/cancel", {"undo": "yes"}, 400, "invalid_body", "/undo")
    check_equal(ballast.operation(first["id"])["state"], "running", "the move that all of this did not disturb")
    check_equal(ballast.ctl("cancel", first["id"], "--undo", "yes").rc, codes.DONE, "status of cancel")
    check_equal(ballast.operation(first["id"])["state"], "cancelled", "state of the cancelled move")
    check_equal(sorted(evidence.guest_bytes_by_node(good)), [1], "nodes of g1 after cancel with undo")
    check_equal(evidence.guest_policies(good), {"bind:1"}, "policy of g1 after cancel with undo")
    status, _, again = http.ask("PATCH", placement, wish, key)
    check_equal((status, again["id"], again["state"]), (202, first["id"], "cancelled"), "the key after its operation's end")
    for verb in ("cancel", "pause", "resume"):
        scene.refused("POST", f"/v1/operations/{first['id']}/{verb}", None, 409, "operation_ended")
    # Whoever waits for an operation that another cancels is told by the exit code.
    waiting = scene.host.spawn([ballast.program, "move", "g1", "--to", "0", "--budget", "8MiB", "--timeout", "120"])
    second = wait_for(lambda: next((o["id"] for o in scene.operations() if o["state"] == "running"), None), 30,
                      "the second slow move to run")
    ballast.ctl("cancel", second, "--undo", "yes")
    check_equal(waiting.wait(60).rc, codes.CANCELLED, "status of ballastctl move that was cancelled elsewhere")
    check_equal(sorted(evidence.guest_bytes_by_node(good)), [1], "nodes of g1 after the second cancel")
    scene.tell("a busy guest: 409 naming what is at work; keys replayed and misused; cancelled with everything put back")


def superseded_resize(scene):
    """A newer resize takes an older one's place; a deadline has its own exit code."""
    ballast, good = scene.ballast, scene.good
    # More than fits into the guest's base memory: some of it must stay where it is.
    check_at_least(good.hugepages(165), 160, "huge pages in the guest")
    good.pattern_start(320, name="huge", hugetlb=True, pace_us=2000)
    older = ballast.ctl("resize", "g1", "384MiB", "--timeout", "60", "--detach").out.strip()
    wait_for(lambda: ballast.operation(older)["steps"], 30, "the older shrink to be at work")
    newer = ballast.ctl("resize", "g1", "640MiB", "--timeout", "60", "--detach").out.strip()
    operation = ballast.wait_operation(older, 60)
    check_equal((operation["state"], operation["superseded_by"]), ("cancelled", newer), "the older resize")
    check_equal(ballast.wait_operation(newer, 90)["state"], "succeeded", "the newer resize")
    check_equal(good.virtio_mem_sizes()[0]["current"], 256 * MIB, "what libvirt says after the newer resize")
    result = ballast.ctl("resize", "g1", "384MiB", "--timeout", "6", check=False)
    last = scene.operations()[0]
    some = good.virtio_mem_sizes()[0]["current"] < 256 * MIB
    check_equal((result.rc, last["state"]), (codes.DEADLINE, "incomplete" if some else "failed"),
                f"a shrink past its deadline: {result}")
    check_equal(sum(r["bytes"] for r in last["remainder"]), good.virtio_mem_sizes()[0]["current"],
                f"a reason for every byte that stayed: {last['remainder']}")
    check_equal(good.virtio_mem_sizes()[0]["requested"], good.virtio_mem_sizes()[0]["current"], "nothing leaves hours later")
    check_equal(good.pattern_stop("huge")["errors"], 0, "pattern errors in the huge pages")
    good.hugepages(0)
    ballast.ctl("resize", "g1", "640MiB")
    scene.tell("a newer resize superseded the older; past its deadline: status 4, each byte that stayed with its reason")


# Hostile agents

class Intruder:
    """Plays evil's agent."""

    def __init__(self, scene):
        self.scene, self.guest, self.process = scene, scene.evil, None
        with open(os.path.join(paths.BUILD, "tests/system/hostile_agent"), "rb") as f:
            self.guest.run("cat >/bin/hostile_agent && chmod 755 /bin/hostile_agent", stdin=f.read())

    def state(self):
        agent = next(g for g in self.scene.ballast.get("/v1/guests")["items"] if g["name"] == "evil")["agent"]
        return agent["state"], agent["suspect_reason"]

    def play(self, mode):
        self.process = self.guest.spawn(f"until hostile_agent {PORT} {mode}; do sleep 0.2; done")

    def stop(self):
        """Pulls its port, and has Ballast put another in: the session begins anew."""
        if self.process:
            self.process.kill()
            self.process = None
        alias = next(channel.find("alias").get("name") for channel in self.guest.live_xml().iter("channel")
                     if channel.find("target").get("name") == AGENT_PORT)
        self.scene.host.virsh("detach-device-alias", "evil", alias, "--live")
        wait_for(lambda: self.state()[0] == "none", 30, "evil's agent channel to be gone")
        self.scene.ballast.ctl("attach-agent", "evil")

    def becomes(self, state, reason, timeout=60):
        wait_for(lambda: self.state() == (state, reason), timeout,
                 f"evil's agent to be {state}, {reason} (it is {self.state()})")


def resize_good(scene, mib):
    """The other guest's work goes on, and how long it took."""
    began = time.monotonic()
    scene.ballast.ctl("resize", "g1", f"{mib}MiB", "--timeout", "60")
    check_equal(scene.good.virtio_mem_sizes()[0]["current"], (mib - 384) * MIB, "g1's size while evil misbehaves")
    return time.monotonic() - began


# What an agent does, and what it is suspect of then. The further ones ./check leaves to its long runs.
SUSPECT = (("garbage", "garbage"), ("checksum", "bad_frames"), ("liar", "lied"), ("direction", "wrong_direction"),
           ("flood", "flood"))
FURTHER_SUSPECT = (("oversize", "bad_frames"), ("wrong_id", "wrong_request_id"), ("wrong_type", "wrong_reply_type"),
                   ("malformed", "malformed_message"))


def hostile_agents(scene):
    """Each mark is on the guest that earned it; the daemon lives, stays small, and serves the other guest."""
    ballast, pid, intruder = scene.ballast, scene.ballast.pid, Intruder(scene)
    # Nobody has the port open: five greetings go unanswered.
    intruder.becomes("channel_busy", None)
    scene.tell("evil's agent says nothing: channel_busy")
    # Operations leave their history in memory, which is bounded; what is measured is what a hostile agent alone adds.
    size, seconds, grown, before = 640, [], {}, scene.anonymous_bytes()
    modes = SUSPECT + (FURTHER_SUSPECT if ALL_CASES else ())
    for mode, reason in modes:
        quiet = scene.anonymous_bytes()
        intruder.stop()
        intruder.play(mode)
        # A report is asked for when somebody wants to know.
        wait_for(lambda: (scene.http.ask("GET", "/v1/guests/evil?fresh=true"), intruder.state())[1] == ("suspect", reason),
                 40, f"evil's agent to be suspect of {reason} for {mode}", 0.5)
        grown[mode] = scene.anonymous_bytes() - quiet
        if mode in ("garbage", "flood"):
            # It goes on writing as fast as it can.
            size = 1408 - size
            seconds.append(resize_good(scene, size))
            share = scene.cpu_share(2)
            scene.tell(f"  {mode} goes on: the daemon takes {share:.0%} of a CPU, g1's resize {seconds[-1]:.1f} s")
            check_at_most(share, 0.15, f"share of a CPU that the daemon spends on a guest that is suspect of {mode}")
        check_equal(ballast.pid, pid, f"the daemon after {mode}")
        check_equal(ballast.guest("g1")["agent"]["state"], "ready", f"g1's agent after {mode}")
    scene.tell(f"{len(modes)} ways to be hostile: each marked suspect with its reason; g1 was resized meanwhile in "
               f"{', '.join(f'{s:.1f} s' for s in seconds)}")
    # It begs to be greeted without end, or begins a frame and no more: never ready, nothing else harmed.
    for mode, states in (("beg", ("connecting", "suspect", "channel_busy")), ("half", ("connecting", "channel_busy"))):
        quiet = scene.anonymous_bytes()
        intruder.stop()
        intruder.play(mode)
        time.sleep(2)
        grown[mode] = scene.anonymous_bytes() - quiet
        size = 1408 - size
        took, share = resize_good(scene, size), scene.cpu_share(2)
        scene.tell(f"  {mode}: evil's agent is {intruder.state()}, the daemon takes {share:.0%} of a CPU, g1's resize {took:.1f} s")
        check_at_most(share, 0.6, f"share of a CPU that the daemon spends on a guest that does {mode}")
        check(intruder.state()[0] in states, f"state of evil's agent with {mode}: {intruder.state()}")
    # It greets and then is silent: the operation goes on without it, and ends in time.
    intruder.stop()
    intruder.play("mute")
    intruder.becomes("ready", None)
    began = time.monotonic()
    result = ballast.ctl("resize", "evil", "768MiB", "--timeout", "60", check=False)
    took = time.monotonic() - began
    check_at_most(took, 60, "seconds of a grow whose agent is mute")
    check(result.rc in (codes.DONE, codes.DEADLINE, codes.INCOMPLETE), f"a grow of a guest whose agent is mute: {result}")
    check_equal(scene.evil.virtio_mem_sizes()[0]["current"], 512 * MIB, "the grow that libvirt did all the same")
    intruder.becomes("channel_busy", None)
    scene.tell(f"an agent that greets and then is mute: the grow was done all the same, in {took:.0f} s, and the agent is "
               "channel_busy")
    # It says that all is done. The size is what libvirt says.
    intruder.stop()
    check_at_least(scene.evil.hugepages(200), 150, "huge pages in evil")
    scene.evil.pattern_start(280, name="huge", hugetlb=True, pace_us=2000)
    intruder.play("boast")
    intruder.becomes("ready", None)
    result = ballast.ctl("resize", "evil", "256MiB", "--timeout", "15", check=False)
    operation = scene.operations()[0]
    stayed = scene.evil.virtio_mem_sizes()[0]["current"]
    check(stayed > 0, f"the huge pages in use keep evil from shrinking, which ended {operation['state']}: {result}")
    check_equal((result.rc, operation["state"]), (codes.DEADLINE, "incomplete"), f"a shrink that was only boasted of: {result}")
    check_equal(operation["result"]["reached_bytes"], 256 * MIB + stayed, f"the size that is told: {operation['result']}")
    check_equal(scene.evil.pattern_stop("huge")["errors"], 0, "pattern errors in evil")
    scene.tell(f"an agent that boasts: incomplete, {stayed // MIB} MiB stayed, as libvirt says")
    intruder.stop()
    # Whatever happens while some mode is played may be the first to fill a cache of the journal's or an arena; once.
    *others, most = sorted(grown.values())
    check_at_most(sum(others), MIB, f"growth of the daemon's anonymous memory by hostile agents but one: {grown}")
    check_at_most(most, 4 * MIB, f"growth by that one: {grown}")
    # With the history of some dozens of operations, of which it keeps a bounded number; idle it is below 6 MiB.
    check_at_most(scene.anonymous_bytes(), 12 * MIB, "the daemon's anonymous memory at the end")
    check_equal(ballast.pid, pid, "the daemon is the same process as before")
    scene.tell(f"the daemon is the same process, its anonymous memory {before / MIB:.1f} MiB, by hostile agents "
               f"{sum(grown.values()) / KIB:+.0f} KiB, "
               f"at the end {scene.anonymous_bytes() / MIB:.1f} MiB")


@story(8, "bad input of every kind: a clear error, and nothing changed", limit_s=900)
def bad_input(tell):
    nodes = [Node(2048), Node(2048), Node(SMALL_NODE_MIB), Node(0)]
    with booted_host(nodes=nodes) as host:
        scene = Scene(host, tell)
        start_guests(scene.good, scene.evil)
        bad_configuration(scene)
        no_libvirt(scene)
        ballast = scene.ballast
        pid = ballast.pid
        ballast.wait_agent("g1")
        ballast.ctl("resize", "g1", "640MiB")
        scene.good.pattern_start(200, pace_us=5000)
        slow = scene.http.open(b"GET /v1/guests HTTP/1.1\r\nHost:")
        facts, operations = scene.facts(), [o["id"] for o in scene.operations()]
        for section in (malformed_requests, unknown_things, impossible_wishes, owners_metadata, no_room_to_grow,
                        smuggled_requests, command_line):
            began = time.monotonic()
            section(scene)
            scene.check_unchanged(facts, operations, section.__name__)
            check_equal(ballast.pid, pid, f"the daemon after {section.__name__}")
            tell(f"  ({section.__name__}: {time.monotonic() - began:.0f} s, nothing changed)")
        check_equal(scene.http.read(slow)[0], 408, "a request that never comes to its end")
        check(scene.http.is_closed(slow), "its connection is closed")
        check_equal(scene.good.pattern_stop()["errors"], 0, "pattern errors in g1")
        for section in (busy_guest, superseded_resize, hostile_agents) + (old_peers.CASES if ALL_CASES else ()):
            began = time.monotonic()
            section(scene)
            check_equal(ballast.pid, pid, f"the daemon after {section.__name__}")
            tell(f"  ({section.__name__}: {time.monotonic() - began:.0f} s)")
        check_equal(evidence.blocks(host), facts["blocks"], "the host's memory blocks at the end")


if __name__ == "__main__":
    main()
