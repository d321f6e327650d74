"""A TCP proxy that misbehaves on request, as a process of its own: `python -m tests.faults.proxy HOST PORT`.

It prints its port, then takes one JSON object a line on stdin and answers each with one: how many connections there
are (`links`), and how many connections or pieces the mood harmed until then (`hurt`). `{"mode": ...}`:

  pass       as if it were not there
  refuse     new connections are refused, those there are reset
  reset      every connection is reset after a random life of at most `seconds`
  hang       nothing moves; all of it is delivered afterwards
  vanish     nothing moves and nobody says so: what was sent is lost, and these connections stay dead afterwards; they
             are reset after `seconds` if that is not 0, as a kernel does whose probes nobody answers
  delay      each piece comes `seconds` later
  half       the client is told that the server is done; what the client sends still arrives
  cut        a connection is reset after `bytes` of answer
  lose       what contains `word` is passed on and the connection reset before its answer comes, with `chance` (0 to 1)

`{"to": PORT}` points it at another port of the same host; `{}` only asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import struct
import sys
from dataclasses import dataclass, field
from typing import Any

PIECE = 1 << 16


@dataclass
class Mood:
    mode: str = "pass"
    seconds: float = 0.0
    bytes: int = 0
    word: str = ""
    chance: float = 1.0


@dataclass(eq=False)
class Link:
    """One connection through the proxy."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    dead: bool = False
    answered: int = 0

    def reset(self) -> None:
        """End both sides at once, without a farewell."""
        for writer in (self.client, self.server):
            end(writer)


def end(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@dataclass
class Proxy:
    host: str
    port: int
    mood: Mood = field(default_factory=Mood)
    links: set[Link] = field(default_factory=set)
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    listener: asyncio.Server | None = None
    own_port: int = 0
    hurt: int = 0

    async def listen(self) -> None:
        self.listener = await asyncio.start_server(self._serve, "127.0.0.1", self.own_port, backlog=256)
        self.own_port = self.listener.sockets[0].getsockname()[1]

    async def obey(self, told: dict[str, Any]) -> dict[str, int]:
        answer = {"links": len(self.links), "hurt": self.hurt}
        self.port = int(told.get("to", self.port))
        if "mode" in told:
            self.hurt = 0
            self.chance = random.Random(told.pop("seed", 0))
            await self._change(Mood(**told))
        return answer

    async def _change(self, mood: Mood) -> None:
        before, self.mood = self.mood, mood
        if self.mood.mode == "refuse" and self.listener is not None:
            self.listener.close()
            self.listener = None
        elif self.listener is None:
            await self.listen()
        for link in list(self.links):
            if self.mood.mode == "refuse":
                self._reset(link)
            elif self.mood.mode == "vanish" or before.mode == "vanish":
                self.hurt += not link.dead
                link.dead = True
                if self.mood.mode == "vanish" and self.mood.seconds:
                    asyncio.get_running_loop().call_later(self.mood.seconds, link.reset)
            elif self.mood.mode == "half":
                with contextlib.suppress(OSError, RuntimeError):
                    link.client.write_eof()
                    self.hurt += 1
            elif self.mood.mode == "reset":
                self._doom(link)

    def _doom(self, link: Link) -> None:
        asyncio.get_running_loop().call_later(self.chance.random() * self.mood.seconds, self._reset, link)

    def _reset(self, link: Link) -> None:
        """It is counted if it still lives."""
        self.hurt += link in self.links
        link.reset()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hurt += self.mood.mode == "hang"
        await self._while("hang", "vanish")
        try:
            back, forth = await asyncio.open_connection(self.host, self.port)
        except OSError:
            end(writer)
            return
        link = Link(writer, forth)
        for side in (writer, forth):
            side.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.links.add(link)
        if self.mood.mode == "reset":
            self._doom(link)
        try:
            await asyncio.gather(self._pump(link, reader, forth, asked=True), self._pump(link, back, writer))
        finally:
            self.links.discard(link)
            for side in (writer, forth):
                side.close()

    async def _pump(
        self, link: Link, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, asked: bool = False
    ) -> None:
        """One direction, until either side ends. `asked`: from the client."""
        try:
            while piece := await source.read(PIECE):
                self.hurt += self.mood.mode in ("hang", "delay")
                await self._while("hang")
                if self.mood.mode == "delay":
                    await asyncio.sleep(self.mood.seconds)
                if link.dead or self.mood.mode == "vanish":
                    link.dead = True
                    continue
                if self._loses(piece, asked=asked):
                    link.dead = True  # the answer is not passed on
                    target.write(piece)
                    await target.drain()
                    await asyncio.sleep(0.05)  # the server has it, and does it
                    self._reset(link)
                    return
                if not asked:
                    link.answered += len(piece)
                    if self.mood.mode == "cut" and link.answered > self.mood.bytes:
                        self._reset(link)
                        return
                target.write(piece)
                await target.drain()
            if not link.dead:
                target.write_eof()
        except (OSError, RuntimeError):
            if not link.dead:
                link.reset()  # as the network would have told the other side

    async def _while(self, *modes: str) -> None:
        while self.mood.mode in modes:  # noqa: ASYNC110 - it is looked at a few times a second, by a few connections
            await asyncio.sleep(0.02)

    def _loses(self, piece: bytes, *, asked: bool) -> bool:
        wanted = asked and self.mood.mode == "lose" and self.mood.word.encode() in piece
        return wanted and self.chance.random() < self.mood.chance


async def main() -> None:
    proxy = Proxy(sys.argv[1], int(sys.argv[2]))
    await proxy.listen()
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print(proxy.own_port, flush=True)
    while line := await lines.readline():
        print(json.dumps(await proxy.obey(json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
