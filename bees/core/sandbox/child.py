"""The child's side: `python -m bees.core.sandbox.child SOCKET LIMITS`. Loads its readers, is shut in, then answers."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from bees.core.sandbox import DATA, DONE, FAILED, FRAME
from bees.core.sandbox.confine import limit, refuse_calls

_READERS = ("pdf", "office", "markup", "rtf", "cards", "mail", "zipped")
_LIBRARIES = (
    "pypdfium2", "pypdfium2.raw", "lxml.etree", "lxml.html", "striprtf.striprtf", "email._header_value_parser",
    "email.parser", "email.feedparser", "email.header", "email.charset", "email.headerregistry", "email.utils",
    "email.contentmanager", "email.quoprimime", "email.base64mime", "binascii",
    "zipfile", "bz2", "lzma", "html.entities", "quopri", "base64",
    "bees.core.formats.tables", "bees.core.formats.xml_rows", "pyarrow.parquet", "pyarrow.compute", "fastavro",
    "fastavro._read", "python_calamine",
    "zoneinfo", "tzdata", "decimal", "_strptime", "snappy", "zstandard",
)  # fmt: skip
_ALL = ("nectar.extract.read", *(f"nectar.extract.{name}" for name in _READERS), *_LIBRARIES)
_STEP = 192 << 20


def main() -> None:
    connection = socket.socket(fileno=int(sys.argv[1]))
    limits = json.loads(sys.argv[2])
    load(limits["only"] or _ALL)
    limit(limits["memory"])
    refuse_calls()
    connection.sendall(b"r")
    while (asked := _request(connection)) is not None:
        request, handle = asked
        patience = int(limits["seconds"]) + 5
        signal.alarm(patience)  # a parent that is gone cannot end us
        try:
            for data in answer(request, handle):
                signal.alarm(0)  # while the parent is busy we wait; one that is gone breaks the connection
                for at in range(0, max(len(data), 1), _STEP):
                    piece = data[at : at + _STEP]
                    connection.sendall(FRAME.pack(DATA, len(piece)) + piece)
                signal.alarm(patience)
            connection.sendall(FRAME.pack(DONE, 0))
        except MemoryError:
            gc.collect()
            _fail(connection, "memory")
            return
        except Exception as error:  # noqa: BLE001 - whatever a hostile file makes of a reader
            _fail(connection, str(getattr(error, "code", "")) or "crashed")
        finally:
            os.close(handle)
            signal.alarm(0)


def load(modules: Sequence[str]) -> None:
    """Everything that a request may import: afterwards no file can be opened any more. What is not installed is not."""
    import encodings

    sys.modules["pandas"] = None  # type: ignore[assignment]  # Arrow would look for it at its first use
    for name in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if "pyarrow" in sys.modules:
        with contextlib.suppress(Exception):  # what Arrow loads at its first use
            importlib.import_module("pyarrow").table({"warm": [1, None]}).to_pylist()
    for module in pkgutil.iter_modules(encodings.__path__):
        with contextlib.suppress(ImportError):
            importlib.import_module(f"encodings.{module.name}")


def _fail(connection: socket.socket, code: str) -> None:
    data = code.encode("ascii", "replace")[:64]
    connection.sendall(FRAME.pack(FAILED, len(data)) + data)


def _request(connection: socket.socket) -> tuple[dict[str, Any], int] | None:
    head, handles, _, _ = socket.recv_fds(connection, 4, 1)
    if not handles:
        return None
    while len(head) < 4:
        head += connection.recv(4 - len(head))
    size = struct.unpack(">I", head)[0]
    body = b""
    while len(body) < size:
        body += connection.recv(size - len(body))
    return json.loads(body), handles[0]


def answer(request: dict[str, Any], handle: int) -> Iterator[bytes]:
    """What the request asks for, of the file behind the descriptor."""
    if request["do"] == "document":
        yield from _document(handle, request["said"])
    elif request["do"] == "7z":
        from bees.core.formats.seven import answer_members

        yield from answer_members(handle)
    else:
        from bees.core.formats.tables import answer_rows

        yield from answer_rows(handle, request)


def _document(handle: int, said: str) -> Iterator[bytes]:
    """First what the document says of itself, then its text."""
    from nectar.extract.read import read

    with os.fdopen(os.dup(handle), "rb") as file:
        made = read(file.read(), said)
    told = {name: getattr(made, name) for name in ("title", "author", "created", "language", "pages", "scanned")}
    yield json.dumps(told).encode()
    yield made.text.encode()


if __name__ == "__main__":
    main()
