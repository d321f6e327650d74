"""Servers that speak MongoDB's protocol: briskdb, a real one, and a scripted peer for what no server here offers.

briskdb has no logins, no change streams and no replica sets; it runs in a process of its own. `ScriptedMongo` answers
each command with what the test says: canned replies, in the words of the protocol's documentation.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import bson
import pytest
from pymongo import MongoClient

__all__ = ["BriskServer", "ScriptedMongo", "brisk", "free_port"]

_SERVE = """
import sys, briskdb
database = briskdb.open(sys.argv[1], shards=2, documents=True)
served = database.serve(mongo=f"127.0.0.1:{sys.argv[2]}")
print("ready", flush=True)
sys.stdin.read()  # until the tests are over, or the parent is gone
"""
_MESSAGE = 2013  # OP_MSG
_QUERY, _REPLY = 2004, 1  # what drivers say hello with


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class BriskServer:
    """Started anew after a kill, on the same port and folder."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        arguments = [sys.executable, "-c", _SERVE, str(self._folder), str(self.port)]
        self._process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", "briskdb did not start"

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self.wait()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self.wait()

    def wait(self) -> None:
        assert self._process is not None
        with self._process as process:
            process.wait(10)

    def client(self) -> MongoClient[dict[str, Any]]:
        return MongoClient("127.0.0.1", self.port, directConnection=True, serverSelectionTimeoutMS=5000)


@pytest.fixture(scope="session")
def brisk(servers_folder: Path) -> Iterator[BriskServer]:
    server = BriskServer(Path(tempfile.mkdtemp(prefix="brisk-", dir=servers_folder)))  # one may live for each module
    server.start()
    try:
        yield server
    finally:
        server.stop()


Answer = Callable[[dict[str, Any]], dict[str, Any] | None]


class ScriptedMongo:
    """A peer that says hello and gives every other command to `answer`; None from it cuts the connection."""

    def __init__(self, answer: Answer, hello: dict[str, Any] | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.hello = hello or {}
        self.seen: list[dict[str, Any]] = []
        self._tls = tls is not None
        peer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError, EOFError):
                    connection = tls.wrap_socket(self.request, server_side=True) if tls else self.request
                    with connection:
                        while peer.talk(connection):
                            pass

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # The driver's monitors outlive a client by half a second. One that shakes hands as the peer goes away leaves
        # a socket to the garbage collection (ssl's own fault), whose warning then fails whatever test is running.
        for monitor in threading.enumerate():
            if self._tls and monitor.name.startswith("pymongo"):
                monitor.join(5)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def commands(self, name: str) -> list[dict[str, Any]]:
        """What the bee sent of one kind."""
        return [command for command in self.seen if next(iter(command)) == name]

    def talk(self, connection: socket.socket) -> bool:
        head = _exactly(connection, 16)
        length, request, _, code = struct.unpack("<iiii", head)
        body = _exactly(connection, length - 16)
        if code == _QUERY:
            _, _, rest = body[4:].partition(b"\0")
            told = self._reply(bson.decode(rest[8:]))
            assert told is not None
            packed = bson.encode(told)
            answer = struct.pack("<iqii", 8, 0, 0, 1) + packed
            connection.sendall(struct.pack("<iiii", 16 + len(answer), 1, request, _REPLY) + answer)
            return True
        assert code == _MESSAGE, code
        told = self._reply(bson.decode(body[5 : 5 + struct.unpack_from("<i", body, 5)[0]]))
        if told is None:
            return False
        answer = struct.pack("<iB", 0, 0) + bson.encode(told)
        connection.sendall(struct.pack("<iiii", 16 + len(answer), 1, request, _MESSAGE) + answer)
        return True

    def _reply(self, command: dict[str, Any]) -> dict[str, Any] | None:
        name = next(iter(command))
        if name.lower() in ("hello", "ismaster"):
            me = {"isWritablePrimary": True, "helloOk": True, "minWireVersion": 0, "maxWireVersion": 17, "ok": 1.0}
            sizes = {"maxBsonObjectSize": 2**24, "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000}
            return {**me, **sizes, **self.hello}
        self.seen.append(command)
        return self.answer(command)


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = connection.recv(size - len(found))
        if not more:
            raise EOFError
        found += more
    return found


def failure(code: int, name: str, text: str = "the server's own words") -> dict[str, Any]:
    """An error as the server tells it."""
    return {"ok": 0.0, "code": code, "codeName": name, "errmsg": text}


def page(
    space: str, documents: list[dict[str, Any]], cursor: int = 0, *, first: bool = True, **more: Any
) -> dict[str, Any]:
    """Some documents of a cursor; 0: there are no more."""
    return {
        "cursor": {"firstBatch" if first else "nextBatch": documents, "id": bson.Int64(cursor), "ns": space, **more},
        "ok": 1.0,
    }
