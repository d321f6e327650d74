"""A scripted MySQL 8 server: its greeting and its ways to log in, byte by byte as the protocol says.

No MySQL 8 can be installed beside the tests, so what differs from MariaDB is played. It says OK to every statement.
https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html
"""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any, Self

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

if TYPE_CHECKING:
    from types import TracebackType

NONCE = bytes(range(1, 21))
_OK = b"\0\0\0\2\0\0\0"
# long password, protocol 4.1, transactions, secure connection, plugins and their data, with a database
_ABLE = 0x1 | 0x8 | 0x200 | 0x2000 | 0x8000 | 0x80000 | 0x200000


class Peer:
    """One that asks for a password in one of several ways; `said` holds what the client sent."""

    def __init__(self, way: str, password: str) -> None:
        self.way, self.password = way, password.encode()
        self.said: list[bytes] = []
        self.statements: list[str] = []
        self.failed: BaseException | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        try:
            client, _ = self._listener.accept()
            with client:
                client.settimeout(5)
                self._talk(client)
        except (OSError, EOFError):
            pass
        except AssertionError as error:
            self.failed = error

    def _talk(self, client: socket.socket) -> None:
        plugin = b"mysql_native_password" if self.way == "clear" else b"caching_sha2_password"
        greeting = b"\x0a8.4.3\0" + struct.pack("<I", 7) + NONCE[:8] + b"\0"
        greeting += struct.pack("<HBHH", _ABLE & 0xFFFF, 255, 2, _ABLE >> 16) + bytes([21]) + bytes(10)
        self._send(client, 0, greeting + NONCE[8:] + b"\0" + plugin + b"\0")
        number, answer = self._read(client)
        self.said.append(answer)
        if self.way == "clear":
            self._send(client, number + 1, b"\xfemysql_clear_password\0")
            number, answer = self._read(client)
            self.said.append(answer)
        if self.way == "fast":
            assert self._scrambled() in answer
            self._send(client, number + 1, b"\1\3")
            number += 1
        if self.way == "full":
            number = self._by_key(client, number)
        self._send(client, number + 1, _OK)
        while True:
            _, said = self._read(client)
            if said[:1] == b"\1":
                return
            self.statements.append(said[1:].decode())
            self._send(client, 1, _OK)

    def _by_key(self, client: socket.socket, number: int) -> int:
        """The password is not known yet: it comes under a public key that the client asks for."""
        private = rsa.generate_private_key(65537, 2048)
        form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        self._send(client, number + 1, b"\1\4")
        number, asked = self._read(client)
        assert asked == b"\2"
        self._send(client, number + 1, b"\1" + private.public_key().public_bytes(*form))
        number, sealed = self._read(client)
        self.said.append(sealed)
        mask = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)
        plain = private.decrypt(sealed, mask)
        assert bytes(b ^ NONCE[i % 20] for i, b in enumerate(plain)) == self.password + b"\0"
        return number

    def _scrambled(self) -> bytes:
        once = hashlib.sha256(self.password).digest()
        twice = hashlib.sha256(hashlib.sha256(once).digest() + NONCE).digest()
        return bytes(a ^ b for a, b in zip(once, twice, strict=True))

    @staticmethod
    def _send(client: socket.socket, number: int, body: bytes) -> None:
        client.sendall(struct.pack("<I", len(body))[:3] + bytes([number % 256]) + body)

    @staticmethod
    def _read(client: socket.socket) -> tuple[int, bytes]:
        head = Peer._exactly(client, 4)
        return head[3], Peer._exactly(client, int.from_bytes(head[:3], "little"))

    @staticmethod
    def _exactly(client: socket.socket, size: int) -> bytes:
        found = b""
        while len(found) < size:
            more: Any = client.recv(size - len(found))
            if not more:
                raise EOFError
            found += more
        return found
