"""A bee as a form found it, and the writer that makes one out of another system's block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hive.config.problems import Problem, closest

if TYPE_CHECKING:
    from hive.config.document import Document

Place = tuple[object, ...]


@dataclass(frozen=True)
class Draft:
    """A bee's native block, unchecked, and where its document has it.

    place     where the bee stands in the document
    places    place in the block -> place below `place`, for what is written elsewhere or called otherwise there
    lenient   options that are missing keep the bee on the ground and are no mistake: files of other systems say less
    text      numbers are written as text, for an environment knows nothing else
    """

    name: object
    block: Any
    place: Place = ()
    places: Mapping[Place, Place] = field(default_factory=dict)
    lenient: bool = False
    text: bool = False

    def written(self, place: Place) -> Place:
        """Where the document has what the block has at `place`."""
        for length in range(len(place), 0, -1):
            found = self.places.get(place[:length])
            if found is not None:
                return (*found, *place[length:])
        return place


@dataclass
class Writer:
    """Moves the keys of one foreign block, one by one, into a native block; what is left over nobody knows."""

    document: Document
    name: object
    place: Place
    given: dict[Any, Any]
    inside: Place = ()
    """Where `given` stands below `place`."""
    block: dict[str, Any] = field(default_factory=dict)
    places: dict[Place, Place] = field(default_factory=dict)
    known: list[str] = field(default_factory=list)

    def within(self, key: str) -> Writer:
        """A writer of the same block for the map that is written at `key`."""
        found = self.take(key)
        return Writer(
            self.document,
            self.name,
            self.place,
            self._map(key, found),
            (*self.inside, key),
            self.block,
            self.places,
        )

    def take(self, key: str) -> Any:
        """The value at `key`, which is known from now on; None where there is none."""
        self.known.append(key)
        return self.given.pop(key, None)

    def move(self, key: str, *native: str, convert: Callable[[Any], Any] | None = None) -> None:
        """The value at `key` goes to the place `native` of the block, unless there is none.

        `convert` may raise ValueError: its message is reported.
        """
        value = self.take(key)
        if value is None:
            return
        if convert is not None:
            try:
                value = convert(value)
            except ValueError as error:
                self.report(key, str(error))
                return
        self.put(native, value, key)

    def put(self, native: Place, value: Any, *written: object) -> None:
        """`value` at a place of the block; `written` is where it was found."""
        target = self.block
        for step in native[:-1]:
            target = target.setdefault(str(step), {})
        target[str(native[-1])] = value
        self.places[native] = self.written(*written)

    def keep(self, *keys: str) -> None:
        """What the model has no place for stays with the bee as it is written."""
        for key in keys:
            value = self.take(key)
            if value is not None:
                self.put(("extras", *map(str, self.inside), key), value, key)

    def numbers(self, *keys: str) -> None:
        """Report which of these is there and no number, or a negative one."""
        for key in keys:
            value = self.given.get(key)
            try:
                if value is not None and number(value) < 0:
                    self.report(key, "should not be negative")
            except ValueError as error:
                self.report(key, str(error))

    def options(self, rename: Callable[[str], str] = str) -> None:
        """All that is left are options of the connector."""
        for key in list(self.given):
            self.put(("source", rename(str(key))), self.given.pop(key), key)

    def refuse_rest(self) -> None:
        """All that is left is reported."""
        for key in self.given:
            near = closest(str(key), self.known)
            expected = "" if near else f"one of {', '.join(sorted(self.known))}"
            self.report(key, "is no known key", expected=expected, suggestion=near)

    def report(self, key: object, message: str, *, expected: str = "", suggestion: str = "") -> None:
        written = self.written(*([] if key is None else [key]))
        self.document.problems.append(
            Problem(
                message,
                file=self.document.name,
                line=self.document.line((*self.place, *written)),
                bee=str(self.name),
                field=".".join(map(str, written)),
                expected=expected,
                suggestion=suggestion,
            )
        )

    def written(self, *keys: object) -> Place:
        """Where the bee's own text has these keys."""
        return (*self.inside, *keys)

    def draft(self) -> Draft:
        return Draft(self.name, self.block, self.place, self.places, lenient=True)

    def _map(self, key: str, value: Any) -> dict[Any, Any]:
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.report(key, "must be a map")
            return {}
        return dict(value)


def number(value: Any) -> float:
    """A number that is written as one. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("should be a number, written without quotes")  # noqa: TRY004 - pydantic's way
    return float(value)


def seconds_of_ms(value: Any) -> float:
    """Seconds of so many milliseconds, above zero. Raises ValueError."""
    found = number(value) / 1000
    if not found > 0:
        raise ValueError("should be above 0: milliseconds")
    return int(found) if found == int(found) else found
