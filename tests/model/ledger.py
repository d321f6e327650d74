"""The ledger's protocol as a few Python objects: what it promises, without a database, a broker or a process.

Each step of a worker is atomic, as a transaction is; between two steps anything may happen to anybody. A worker is a
generator that stops between its steps: whoever drives it decides who goes on, who dies and who is taken for dead.

`guards` are the rules in force. A test takes one away and finds the damage that it keeps off.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

CLAIM, FENCE, ORDER, RECEIPT, POSITION, WATERMARK, CLOSE, SLOT, CLOCK, PURGE = GUARDS = (
    "only a queued task is claimed",
    "only the owner of the newest claim writes",
    "a batch is sealed right after the one its reader knows",
    "a batch lands once",
    "the higher position wins",
    "the watermark passes no missing batch",
    "a flight closes when nothing of it is open",
    "one flight for each slot",
    "the database's clock alone decides who lives",
    "nothing is forgotten that the watermark has not passed",
)
"""What must hold, each by one comparison in the ledger's SQL."""

BATCH = 2
"""Records in a batch."""
LEASE = 10
"""Seconds that a worker lives after its last heartbeat."""


@dataclass
class Task:
    flight: int
    kind: str
    batch: int = 0
    state: str = "queued"
    fence: int = 0
    owner: str = ""


@dataclass
class Batch:
    flight: int
    seq: int
    first: int
    """Place of its first record in the source."""
    rows: int
    landed: bool = False
    forgotten: bool = False
    """With its receipt: the day is over for which they are kept."""


@dataclass
class Flight:
    state: str = "open"
    read: int = 0
    landed: int = 0


@dataclass
class Ledger:
    """`source` is what was offered, in order: (key, version). A jar holds key -> (position, version)."""

    guards: frozenset[str] = frozenset(GUARDS)
    source: list[tuple[int, int]] = field(default_factory=list)
    slots: dict[int, int] = field(default_factory=dict)
    flights: list[Flight] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    receipts: list[int] = field(default_factory=list)
    """Numbers of the batches that landed, one for each landing."""
    jar: dict[int, tuple[int, int]] = field(default_factory=dict)
    cursor: int = 0
    sealed: int = 0
    watermark: int = 0
    fences: int = 0
    stolen: int = 0
    """Claims of tasks that a living worker had in hand."""
    late: int = 0
    """Writes of workers that had been taken for dead."""
    now: int = 1000
    """The database's clock."""
    alive_until: dict[str, int] = field(default_factory=dict)
    beat_at: dict[str, int] = field(default_factory=dict)
    robbed: int = 0
    """Tasks taken from workers that had just beaten."""

    def offer(self, key: int) -> None:
        version = sum(1 for known, _ in self.source if known == key) + 1
        self.source.append((key, version))

    def fly(self, slot: int) -> None:
        """A scheduler finds a slot due; any number of them may."""
        if SLOT in self.guards and slot in self.slots:
            return
        self.flights.append(Flight())
        self.slots[slot] = self.slots.get(slot, 0) + 1
        self.tasks.append(Task(len(self.flights) - 1, "collect"))

    def work(self, number: int, owner: str) -> Iterator[None]:
        """What a hint about a task leads to, however often it comes."""
        task = self.tasks[number]
        if task.state != "queued" and (CLAIM in self.guards or task.state == "done"):
            return
        self.stolen += task.state == "running"
        self.fences += 1
        fence = self.fences
        task.state, task.fence, task.owner = "running", fence, owner
        self.beat(owner, self.now)
        yield
        yield from self._collect(task, fence) if task.kind == "collect" else self._process(task, fence)

    def _mine(self, task: Task, fence: int) -> bool:
        """Checked in the same step as the write that follows."""
        mine = task.state == "running" and task.fence == fence
        if FENCE in self.guards:
            return mine
        self.late += not mine
        return True

    def _collect(self, task: Task, fence: int) -> Iterator[None]:
        cursor, before = self.cursor, self.sealed
        while True:
            rows = self.source[cursor : cursor + BATCH]
            yield
            if not self._mine(task, fence):
                return
            if ORDER in self.guards and self.sealed != before:
                task.state = "queued"
                return
            if rows:
                self.batches.append(Batch(task.flight, before + 1, cursor, len(rows)))
                self.tasks.append(Task(task.flight, "process", len(self.batches) - 1))
                self.flights[task.flight].read += len(rows)
            before += bool(rows)
            cursor += len(rows)
            self.sealed, self.cursor = before, cursor
            if len(rows) < BATCH:
                task.state = "done"
                break
        yield
        self.close(task.flight)

    def _process(self, task: Task, fence: int) -> Iterator[None]:
        batch = self.batches[task.batch]
        rows = list(enumerate(self.source[batch.first : batch.first + batch.rows], batch.first))
        yield
        if not self._mine(task, fence):
            return
        if RECEIPT not in self.guards or task.batch not in self.receipts or batch.forgotten:
            self.receipts.append(task.batch)
            self.flights[task.flight].landed += batch.rows
        for position, (key, version) in rows:
            if POSITION not in self.guards or self.jar.get(key, (-1, 0))[0] <= position:
                self.jar[key] = (position, version)
        batch.landed = True
        self._raise_watermark(batch.seq)
        task.state = "done"
        yield
        self.close(task.flight)

    def _raise_watermark(self, seq: int) -> None:
        if WATERMARK not in self.guards:
            self.watermark = max(self.watermark, seq)
        while any(batch.seq == self.watermark + 1 and batch.landed and not batch.forgotten for batch in self.batches):
            self.watermark += 1

    def close(self, number: int) -> None:
        """Whoever finishes a task, and the janitor, try it."""
        still = any(task.flight == number and task.state != "done" for task in self.tasks)
        if not (still and CLOSE in self.guards):
            self.flights[number].state = "closed"

    def beat(self, owner: str, clock: int) -> None:
        """A heartbeat of a worker, by whose own clock it is this late."""
        self.beat_at[owner] = self.now
        self.alive_until[owner] = (self.now if CLOCK in self.guards else clock) + LEASE

    def fall_silent(self, owner: str) -> None:
        """It beats no more, and its lease is over before anything else happens."""
        self.beat_at[owner] = self.alive_until[owner] = self.now - LEASE - 1

    def expire(self) -> None:
        """The janitor takes back what silent workers hold; they may not know."""
        for task in self.tasks:
            if task.state == "running" and self.alive_until[task.owner] < self.now:
                self.robbed += self.beat_at[task.owner] + LEASE >= self.now
                task.state = "queued"

    def purge(self) -> None:
        """The day is over: what landed of closed flights is forgotten, with its receipts."""
        for batch in self.batches:
            if batch.landed and (batch.seq <= self.watermark or PURGE not in self.guards):
                batch.forgotten = True

    def damage(self) -> list[str]:
        """What is wrong at this moment, whoever still works."""
        found = []
        if len(self.receipts) != len(set(self.receipts)):
            found.append("dup: a batch landed twice")
        if any((key, version) != self.source[position] for key, (position, version) in self.jar.items()):
            found.append("ghost: the jar holds what was never offered")
        if any(batch.seq <= self.watermark and not batch.landed for batch in self.batches):
            found.append("gap: the watermark passed a batch that has not landed")
        if len({batch.seq for batch in self.batches}) != len(self.batches):
            found.append("dup: two batches of one number")
        if any(flight.state == "closed" and flight.read != flight.landed for flight in self.flights):
            found.append("lost: a closed flight is not balanced")
        if any(count > 1 for count in self.slots.values()):
            found.append("dup: a slot flew twice")
        if self.robbed:
            found.append("robbed: a task was taken from a worker that lives")
        if self.stolen:
            found.append("stolen: two workers had one task in hand")
        if self.late:
            found.append("zombie: a worker that was taken for dead has written")
        return found

    def damage_at_rest(self) -> list[str]:
        """And what is wrong when nothing is left to do."""
        newest = {key: (position, version) for position, (key, version) in enumerate(self.source[: self.cursor])}
        found = self.damage()
        if self.jar != newest:
            found.append("lost: the jar does not hold the newest of what was read")
        if any(task.state != "done" for task in self.tasks) or any(flight.state != "closed" for flight in self.flights):
            found.append("stuck: something is open for ever")
        if self.watermark != self.sealed:
            found.append("gap: the watermark stays behind")
        return found
