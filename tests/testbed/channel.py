# SPDX-License-Identifier: Apache-2.0
"""Runs commands at the other end of a byte stream, where tests/testbed/guest/command_server.c answers."""

import itertools
import os
import queue
import shlex
import socket
import struct
import threading
import time

MAGIC = 0x31435442
HEADER = struct.Struct("<IIII")
CHUNK = 64 * 1024
FRAME_MAX = 256 * 1024
# The times for commands are those of a machine at its best; the same one was seen two times slower hours later. Nothing
# waits longer for it but what fails.
PATIENCE = 3

RESET, RUN, INPUT, INPUT_END, SIGNAL, CONNECT = 1, 2, 3, 4, 5, 6
HELLO, STDOUT, STDERR, EXIT, CONNECTED, CLOSED = 101, 102, 103, 104, 105, 106


class ChannelError(Exception):
    """The other end does not answer, or is gone."""


class CommandFailed(Exception):
    """A command ended with another status than 0, or not in time. `result` has what it said."""

    def __init__(self, where, command, result, why):
        self.result = result
        said = (result.err.strip() or result.out.strip())[-2000:]
        super().__init__(f"on {where}: {why}: {command}" + (f"\n{said}" if said else ""))


class Result:
    """What a command left: `rc`, and `out` and `err` as text."""

    def __init__(self, rc, out, err):
        self.rc, self.out_bytes, self.err_bytes = rc, bytes(out), bytes(err)

    @property
    def out(self):
        return self.out_bytes.decode(errors="replace")

    @property
    def err(self):
        return self.err_bytes.decode(errors="replace")

    def __repr__(self):
        return f"Result(rc={self.rc}, out={self.out!r}, err={self.err!r})"


class Process:
    """A command that runs at the other end. `rc` is None until it ends."""

    def __init__(self, channel, number, command):
        self.channel, self.number, self.command = channel, number, command
        self.rc = None
        self._out, self._err = bytearray(), bytearray()
        self._ended = threading.Event()

    def on_frame(self, kind, data):
        if kind == STDOUT:
            self._out += data
        elif kind == STDERR:
            self._err += data
        elif kind == EXIT:
            self.rc = struct.unpack("<i", data)[0]
            self._ended.set()

    def on_lost(self):
        self._ended.set()

    @property
    def out(self):
        """What it has written to its standard output so far."""
        return bytes(self._out).decode(errors="replace")

    @property
    def err(self):
        return bytes(self._err).decode(errors="replace")

    @property
    def running(self):
        return not self._ended.is_set()

    def write(self, data):
        """Writes to its standard input (spawned with stdin=True)."""
        data = data.encode() if isinstance(data, str) else data
        for at in range(0, len(data), CHUNK):
            self.channel.send(self.number, INPUT, data[at:at + CHUNK])

    def close_stdin(self):
        self.channel.send(self.number, INPUT_END)

    def kill(self, signal=9):
        """Sends a signal to it and to all of its process group."""
        self.channel.send(self.number, SIGNAL, struct.pack("<I", signal))

    def wait(self, timeout=60):
        """Waits for its end and returns a Result; raises CommandFailed if it takes PATIENCE times longer, and kills it."""
        timeout *= PATIENCE
        if not self._ended.wait(timeout):
            self.kill()
            self._ended.wait(2)
            raise CommandFailed(self.channel.name, self.command, Result(None, self._out, self._err),
                                f"did not end in {timeout} s")
        if self.rc is None:
            raise ChannelError(f"{self.channel.name} went away during: {self.command}")
        self.channel.forget(self.number)
        return Result(self.rc, self._out, self._err)


class Stream:
    """A connection to a unix socket at the other end; looks like a socket."""

    def __init__(self, channel, number, path):
        self.channel, self.number, self.path = channel, number, path
        self._queue = queue.Queue()
        self._opened = threading.Event()
        self._rest = b""
        self._closed = self._ended = False
        self._why = ""

    def on_frame(self, kind, data):
        if kind == CONNECTED:
            self._opened.set()
        elif kind == STDOUT:
            self._queue.put(data)
        elif kind == CLOSED:
            self._closed, self._why = True, data.decode()
            self._opened.set()
            self._queue.put(b"")

    def on_lost(self):
        self.on_frame(CLOSED, b"the channel is gone")

    def wait_open(self, timeout):
        if not self._opened.wait(timeout):
            raise ChannelError(f"{self.path} on {self.channel.name}: no answer in {timeout} s")
        if self._closed and self._why:
            raise ChannelError(f"{self.path} on {self.channel.name}: {self._why}")

    def sendall(self, data):
        if self._closed:
            raise ChannelError(f"{self.path} on {self.channel.name} is closed")
        for at in range(0, len(data), CHUNK):
            self.channel.send(self.number, INPUT, data[at:at + CHUNK])

    def recv(self, size, timeout=None):
        """The next bytes, b"" at the end of the stream. Raises TimeoutError after `timeout` seconds without any."""
        if not self._rest and not self._ended:
            try:
                self._rest = self._queue.get(timeout=timeout)
            except queue.Empty:
                raise TimeoutError(f"nothing from {self.path} in {timeout} s") from None
            self._ended = not self._rest
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def shutdown_write(self):
        self.channel.send(self.number, INPUT_END)

    def close(self):
        if not self._closed:
            try:
                self.channel.send(self.number, INPUT_END)
            except ChannelError:
                pass
        self._queue.put(b"")


class Channel:
    """Commands and streams by number over one byte stream (a socket, or a Stream of another channel)."""

    def __init__(self, stream, name):
        self.name = name
        self._stream = stream
        self._numbers = itertools.count(1)
        self._open = {}
        self._lock = threading.Lock()
        self._hello = threading.Event()
        self._nonce = None
        self._lost = False
        threading.Thread(target=self._read, name=f"channel {name}", daemon=True).start()

    def handshake(self, timeout=60):
        """Starts afresh: whatever ran is killed, and stale bytes in either direction are thrown away."""
        for one in list(self._open.values()):
            one.on_lost()
        self._open.clear()
        self._nonce = os.urandom(8)
        self._hello.clear()
        end = time.monotonic() + timeout
        while not self._lost and time.monotonic() < end:
            self.send(0, RESET, self._nonce)
            if self._hello.wait(1):
                return
        raise ChannelError(f"{self.name} did not answer in {timeout} s" if not self._lost else f"{self.name} is gone")

    def send(self, number, kind, data=b""):
        if self._lost:
            raise ChannelError(f"{self.name} is gone")
        try:
            with self._lock:
                self._stream.sendall(HEADER.pack(MAGIC, number, kind, len(data)) + data)
        except OSError as error:
            self._fail()
            raise ChannelError(f"{self.name} is gone: {error}") from error

    def forget(self, number):
        self._open.pop(number, None)

    def spawn(self, command, stdin=False):
        """Starts a command (text for a shell, or a list of words) and returns its Process."""
        if not isinstance(command, str):
            command = shlex.join(str(word) for word in command)
        number = next(self._numbers)
        process = self._open[number] = Process(self, number, command)
        self.send(number, RUN, (b"\1" if stdin else b"\0") + command.encode())
        return process

    def run(self, command, timeout=60, check=True, stdin=None):
        """Runs a command to its end. With check, another status than 0 raises CommandFailed."""
        process = self.spawn(command, stdin=stdin is not None)
        if stdin is not None:
            process.write(stdin)
            process.close_stdin()
        result = process.wait(timeout)
        if check and result.rc != 0:
            raise CommandFailed(self.name, process.command, result, f"status {result.rc}")
        return result

    def connect(self, path, timeout=20):
        """Opens a Stream to a unix socket at the other end."""
        number = next(self._numbers)
        stream = self._open[number] = Stream(self, number, path)
        self.send(number, CONNECT, path.encode())
        stream.wait_open(timeout)
        return stream

    @property
    def lost(self):
        return self._lost

    def close(self):
        self._fail()
        self._stream.close()

    def _fail(self):
        self._lost = True
        for one in list(self._open.values()):
            one.on_lost()

    def _read(self):
        data = bytearray()
        magic = struct.pack("<I", MAGIC)
        while True:
            try:
                more = self._stream.recv(CHUNK)
            except OSError:
                more = b""
            if not more:
                self._fail()
                return
            data += more
            while True:
                at = data.find(magic)
                if at != 0:
                    # Not at a frame: keep only what may be the beginning of the next magic.
                    del data[:at if at > 0 else max(0, len(data) - 3)]
                if at < 0 or len(data) < HEADER.size:
                    break
                _, number, kind, size = HEADER.unpack_from(data)
                if size > FRAME_MAX:
                    del data[:1]
                    continue
                if len(data) < HEADER.size + size:
                    break
                payload = bytes(data[HEADER.size:HEADER.size + size])
                del data[:HEADER.size + size]
                self._on_frame(number, kind, payload)

    def _on_frame(self, number, kind, payload):
        if kind == HELLO:
            if payload == self._nonce:
                self._hello.set()
            return
        one = self._open.get(number) if self._hello.is_set() else None
        if one:
            one.on_frame(kind, payload)
            if kind in (EXIT, CLOSED):
                self.forget(number)


class Forward:
    """Listens on 127.0.0.1 and carries each connection to a unix socket at the other end of a channel."""

    def __init__(self, channel, path, port=0):
        self._channel, self._path = channel, path
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client):
        try:
            stream = self._channel.connect(self._path)
        except ChannelError:
            client.close()
            return
        threading.Thread(target=self._carry_back, args=(client, stream), daemon=True).start()
        try:
            while data := client.recv(CHUNK):
                stream.sendall(data)
            stream.shutdown_write()
        except (OSError, ChannelError):
            stream.close()

    @staticmethod
    def _carry_back(client, stream):
        try:
            while data := stream.recv(CHUNK):
                client.sendall(data)
        except OSError:
            pass
        stream.close()
        # Not only close(): the other thread is still reading it, and that keeps the connection open.
        try:
            client.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        client.close()
