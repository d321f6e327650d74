"""Regions of pages that change while somebody looks, as server-sent events.

Everybody who looks at the same page in the same role shares one loop, which renders it once a second and tells which
regions have changed. Ages such as "3 s ago" are no change: the page counts on by itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import orjson

from hive.dashboard.kept import NO_ANSWER

Regions = Mapping[str, str]
Key = tuple[str, str]
"""(role, path with its query)."""
Render = Callable[[Key], Awaitable[Regions]]

TICK = 1.0
LONGEST = 3.0
"""Seconds that a page may take before those who look are told that the ledger does not answer."""
MOST = 200
"""Streams that are open at a time."""
_ALIVE = 15
"""Ticks after which something is sent, so that nobody on the way takes the stream for dead."""
_AGE = re.compile(r"(<time [^>]*>)[^<]*")


class TooMany(RuntimeError):
    """No further stream is opened."""


class _Channel:
    """What one page looks like now; `away`: the ledger does not answer, `lost`: what it shows is there no more."""

    def __init__(self) -> None:
        self.regions: dict[str, tuple[str, str]] = {}
        self.away = False
        self.gone = False
        self.lost = False
        self.lookers = 0
        self.news = asyncio.Event()

    def tell(self) -> None:
        """Wake those who wait; who comes later waits for the next time."""
        self.news.set()
        self.news = asyncio.Event()


class Hub:
    """All streams of this process. Belongs to one event loop."""

    def __init__(self, render: Render, ending: Callable[[], bool]) -> None:
        self._render = render
        self._ending = ending
        self._channels: dict[Key, _Channel] = {}
        self._loops: set[asyncio.Task[None]] = set()

    def check_room(self) -> None:
        """Raises TooMany."""
        if sum(channel.lookers for channel in self._channels.values()) >= MOST:
            raise TooMany

    async def stream(self, key: Key, still_welcome: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
        """Events: `regions` {name: html} with what changed, `away`, `bye` where session or page are over."""
        channel = self._join(key)
        seen: dict[str, str] = {}
        quiet = 0
        yield b"retry: 2000\n\n"
        try:
            while not channel.gone:
                news = channel.news
                fresh = {name: html for name, (mark, html) in channel.regions.items() if seen.get(name) != mark}
                seen |= {name: channel.regions[name][0] for name in fresh}
                if channel.away:
                    seen.clear()  # what is shown then is sent again when the ledger is back: that says so
                    yield _event("away", {})
                elif fresh:
                    yield _event("regions", fresh)
                quiet += 1
                if quiet % _ALIVE == 0:
                    if not await still_welcome():
                        yield _event("bye", {})
                        return
                    yield b": here\n\n"
                await news.wait()
            if channel.lost:
                yield _event("bye", {})
        finally:
            channel.lookers -= 1

    def _join(self, key: Key) -> _Channel:
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = _Channel()
            loop = asyncio.get_running_loop().create_task(self._keep(key, channel))
            self._loops.add(loop)
            loop.add_done_callback(self._loops.discard)
        channel.lookers += 1
        return channel

    async def _keep(self, key: Key, channel: _Channel) -> None:
        """Render again and again, until nobody looks any more, what is shown is gone, or this process ends."""
        try:
            while channel.lookers > 0 and not self._ending():
                try:
                    found = await self._rendered(key, channel)
                    channel.regions = {name: (_mark(html), html) for name, html in found.items()}
                    channel.away = False
                except NO_ANSWER:
                    channel.away = True
                except LookupError:
                    channel.lost = True
                    return
                channel.tell()
                await self._pause()
        finally:
            channel.gone = True
            if self._channels.get(key) is channel:
                del self._channels[key]
            channel.tell()

    async def _rendered(self, key: Key, channel: _Channel) -> Regions:
        """What the page shows now. One that takes long is told of meanwhile: the ledger does not answer it."""
        task = asyncio.ensure_future(self._render(key))
        try:
            await asyncio.wait({task}, timeout=LONGEST)
            if not task.done():
                channel.away = True
                channel.tell()
            return await task
        finally:
            task.cancel()

    async def _pause(self) -> None:
        """A tick, shorter where the process ends."""
        for _ in range(5):
            await asyncio.sleep(TICK / 5)
            if self._ending():
                return


def _mark(html: str) -> str:
    return hashlib.blake2b(_AGE.sub(r"\1", html).encode(), digest_size=8).hexdigest()


def _event(name: str, data: Mapping[str, str]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(data))
