"""What a pass goes through: files as they are listed now, beside what is known of them, small ones read ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

from bees.core import progress
from bees.core.errors import GiveUp, SourceError
from bees.core.file_inside import is_member_of
from bees.core.filebee import FileOptions, Plan
from bees.core.storage.base import Entry, Listed, Opened, Storage
from bees.core.storage.memory import SENT, Memory, Record

SMALL = 4 << 20
"""Bytes up to which a file is read at once and ahead of its turn, a larger one by ranges."""
_WINDOW = 32 << 20
_UNWANTED = 1000
"""Files in a row that no pattern wants, after which one of them says how far the listing is."""


@dataclass
class Item:
    """A path in its turn: what is listed there now, and what is known of it."""

    key: bytes
    now: Listed | None
    old: Record | None
    members: list[Record] = field(default_factory=list)
    """What is known of documents within it, if it was an archive."""
    job: Future[Opened] | None = None

    @property
    def flags(self) -> int:
        return self.old.flags & SENT if self.old else 0


def items(storage: Storage, memory: Memory, plan: Plan, options: FileOptions) -> Iterator[Item]:
    """What is listed now merged with what was known before, by path."""
    old = memory.old()
    known, count, last, unwanted = next(old, None), 0, b"", 0
    for now in storage.entries(memory.pos, recursive=options.recursive):
        progress.step()
        key = now.key
        if key == last:
            continue  # servers that are like S3 tell some keys twice, at the joint of two pages
        if key < last:
            raise GiveUp(
                "the source lists its files in no order", code="unordered_listing", where="path",
                advice="a bucket of directories (S3 Express, a hierarchical namespace) cannot be read this way",
            )  # fmt: skip
        last = key
        wanted = not isinstance(now, Entry) or plan.wanted(now.path)
        unwanted = 0 if wanted else unwanted + 1
        if not wanted and unwanted % _UNWANTED:
            continue
        while known is not None and known.key < key:
            yield Item(known.key, None, known)
            known = next(old, None)
        if not wanted:
            if known is None or known.key > key:
                yield Item(key, None, None)
            continue
        there = known if known is not None and known.key == key else None
        known = next(old, None) if there else known
        members: list[Record] = []
        while known is not None and is_member_of(known.key, key):
            members.append(known)
            known = next(old, None)
        yield Item(key, now, there, members)
        count += 1
        if count > options.max_files:
            raise GiveUp(
                f"the stream {plan.name!r} has more than {options.max_files} files",
                code="too_many_files", where="path",
                advice="part the folder between bees by `patterns` or `path`, or raise `max_files`",
            )  # fmt: skip
    while known is not None:
        yield Item(known.key, None, known)
        known = next(old, None)


def ahead(
    found: Iterator[Item], storage: Storage, is_fetched: Callable[[Item, Entry], bool]
) -> Generator[Item, None, None]:
    """The items in their order, while small files among the next ones are being read."""
    window: deque[Item] = deque()
    jobs = size = 0
    broken: SourceError | None = None
    try:
        try:
            for item in found:
                if isinstance(item.now, Entry) and is_fetched(item, item.now):
                    item.job = storage.ahead(item.now)
                    jobs, size = jobs + 1, size + max(item.now.size, 0)
                window.append(item)
                while window and (window[0].job is None or jobs > 2 * storage.concurrency or size > _WINDOW):
                    first = window.popleft()
                    if first.job and isinstance(first.now, Entry):
                        jobs, size = jobs - 1, size - max(first.now.size, 0)
                    yield first
        except SourceError as error:  # of the listing: what is listed is read first
            broken = error
        yield from window
        if broken is not None:
            raise broken
    finally:
        for item in window:
            if item.job:
                item.job.cancel()
