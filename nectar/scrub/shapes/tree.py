"""Plain Python data: objects in objects, lists of objects, as JSON and documents have them.

Two walks of the same kind. The first collects the values of each field, so that a field's values are scrubbed
together; the second builds a copy with the outcomes in place. The input is never changed.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import ipaddress
import numbers
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal

import numpy as np

from nectar.scrub.find.findings import ScanError
from nectar.scrub.profile.profiles import Action
from nectar.scrub.profile.rules import FieldRule
from nectar.scrub.shapes.cells import Cells
from nectar.scrub.shapes.splices import Outcome
from nectar.scrub.treat.actions import REDACTED

Sort = Literal["text", "number", "key"]
Group = tuple[str, Sort, FieldRule | None]
_Outcomes = dict[Group, dict[str, Outcome]]


class Number(str):
    """A number of a JSON document in its own digits, so that nothing is rounded on the way through."""

    __slots__ = ()


class Members(list[tuple[str, Any]]):
    """A JSON object as it was written: every member, even those whose key comes twice."""


@dataclass
class Copy:
    """A scrubbed copy, what was taken out (field, kind), and why it must not be used, if so."""

    value: Any = None
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    failed: str | None = None


def number_text(value: object) -> str | None:
    """A number's decimal text, if it is a whole one. pandas makes floats of integers that stand beside nulls."""
    if isinstance(value, bool):
        return None
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, numbers.Integral):
        return str(int(value)) if abs(int(value)) < 10**40 else None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else None
    if isinstance(value, decimal.Decimal):
        return format(value, "f") if value.is_finite() and abs(value) < 10**40 else None
    return None


def scrub_trees(cells: Cells, nodes: Sequence[Any], path: str = "", rule: FieldRule | None = None) -> list[Copy]:
    """Scrub values that all stand at `path`; a failure spoils its own copy only."""
    found: dict[Group, dict[str, None]] = {}

    def note(text: str, group: Group, _shown: str) -> str:
        found.setdefault(group, {})[text] = None
        return text

    copies = []
    for node in nodes:
        try:
            _Walk(cells, note).node(node, path, path, rule)
        except RecursionError:
            copies.append(Copy(failed="too_deep"))
        except ScanError as failure:
            copies.append(Copy(failed=failure.code))
        else:
            copies.append(Copy())
    outcomes = {group: _outcomes(cells, group, values) for group, values in found.items()}
    for node, copy in zip(nodes, copies, strict=True):
        if copy.failed is None:
            _fill(cells, (path, rule), node, copy, outcomes)
    return copies


def _outcomes(cells: Cells, group: Group, values: Iterable[str]) -> dict[str, Outcome]:
    path, sort, rule = group
    if sort == "number":
        return cells.numbers(path, values, rule)
    return cells.texts(path, values, rule, is_key=sort == "key")


def _fill(cells: Cells, at: tuple[str, FieldRule | None], node: Any, copy: Copy, outcomes: _Outcomes) -> None:
    path, rule = at

    def look_up(text: str, group: Group, shown: str) -> str | None:
        outcome = outcomes[group].get(text)
        if outcome is None:
            return text
        if outcome.failed:
            raise ScanError(outcome.failed)
        for _, kind, count in outcome.counts:
            copy.counts[shown, kind] += count
        return outcome.value

    walk = _Walk(cells, look_up, copy.counts)
    try:
        copy.value = walk.node(node, path, path, rule)
    except ScanError as failure:
        copy.failed = failure.code
    except RecursionError:
        copy.failed = "too_deep"


@dataclass
class _Walk:
    """`leaf` says what stands for a text. `path` finds rules and context; `shown` is the path in scrubbed keys."""

    cells: Cells
    leaf: Callable[[str, Group, str], str | None]
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def node(self, node: Any, path: str, shown: str, rule: FieldRule | None) -> Any:
        rule = self.cells.rule_of(path) or rule
        if node is None or (rule is not None and rule.action is Action.KEEP):
            return node
        if isinstance(node, np.ndarray):
            given = node.tolist()
            items = self.node(given, path, shown, rule)
            if not isinstance(items, list):
                return items
            return node.copy() if items == given else np.array(items, dtype=object)
        if isinstance(node, _CONTAINERS) or _is_record(node):
            if rule is not None and rule.action in {Action.REMOVE, Action.REPLACE}:
                self.counts[shown, "rule"] += 1
                return None if rule.action is Action.REMOVE else REDACTED
            return self._container(node, path, shown, rule)
        return self._scalar(node, path, shown, rule)

    def _container(self, node: Any, path: str, shown: str, rule: FieldRule | None) -> Any:
        if isinstance(node, Members):
            return Members(self._members(node, path, shown, rule))
        if isinstance(node, Mapping):
            return dict(self._members(node.items(), path, shown, rule))
        if _is_record(node):
            return self._record(node, path, shown, rule)
        items = [self.node(item, path, shown, rule) for item in node]
        if isinstance(node, list):
            return items
        if isinstance(node, tuple):
            return type(node)(*items) if hasattr(node, "_fields") else tuple(items)
        if isinstance(node, deque):
            return deque(items, node.maxlen)
        return frozenset(items) if isinstance(node, frozenset) else set(items)

    def _record(self, node: Any, path: str, shown: str, rule: FieldRule | None) -> Any:
        """A dataclass, made anew where one of its fields changed."""
        changed = {}
        for each in dataclasses.fields(node):
            old = getattr(node, each.name)
            below, below_shown = (f"{p}.{each.name}" if p else each.name for p in (path, shown))
            new = self.node(old, below, below_shown, rule)
            if new is not old:
                changed[each.name] = new
        try:
            return dataclasses.replace(node, **changed) if changed else node
        except Exception as error:  # whatever its own code has against the new values
            raise ScanError("unsupported_type") from error

    def _members(
        self, members: Iterable[tuple[Any, Any]], path: str, shown: str, rule: FieldRule | None
    ) -> list[tuple[Any, Any]]:
        """Members with scrubbed keys; a key that came to equal another gets a number, so that no value is lost."""
        pairs = [(key, self._key(key, path, shown), value) for key, value in members]
        used = {new for key, new, _ in pairs if new == key}
        result: list[tuple[Any, Any]] = []
        for key, plain, value in pairs:
            new, count = plain, 1
            while plain != key and new in used:
                count += 1
                new = f"{plain}#{count}"
            used.add(new)
            below, below_shown = (f"{p}.{k}" if p else str(k) for p, k in ((path, key), (shown, new)))
            result.append((new, self.node(value, below, below_shown, rule)))
        return result

    def _key(self, key: Any, path: str, shown: str) -> Any:
        if isinstance(key, str | _WRITTEN):
            text = str.__str__(key) if isinstance(key, str) else str(key)
            new = self.leaf(text, (path, "key", None), shown)
            return key if new == text else new
        if isinstance(key, tuple | frozenset) or _is_record(key):
            return self.node(key, path, shown, None)
        number = number_text(key)
        if number is None:
            return None if key is None else _known(key)
        new = self.leaf(number, (path, "number", None), shown)
        return key if new == number else new or REDACTED

    def _scalar(self, node: Any, path: str, shown: str, rule: FieldRule | None) -> Any:
        if isinstance(node, str) and not isinstance(node, Number):
            text = str.__str__(node)
            new = self.leaf(text, (path, "text", rule), shown)
            return node if new == text else new
        if rule is None and isinstance(node, dt.date):
            rule = self.cells.dates
        text_of_number = number_text(node)
        if text_of_number is None and isinstance(node, _WRITTEN):
            text = str(node)
            new = self.leaf(text, (path, "text", rule), shown)
            return node if new == text else new
        if text_of_number is None and rule is not None and node == node:  # noqa: PLR0124  not-a-number is a null
            text_of_number = node.hex() if isinstance(node, bytes | bytearray | memoryview) else str(node)
        if text_of_number is None:
            return _known(node)
        new = self.leaf(text_of_number, (path, "number", rule), shown)
        return node if new == text_of_number else new


_CONTAINERS = (Mapping, list, tuple, set, frozenset, deque)
_WRITTEN = PurePath | ipaddress.IPv4Address | ipaddress.IPv6Address | ipaddress.IPv4Interface | ipaddress.IPv6Interface
"""What is text in all but its type."""

_TEXTLESS = (
    numbers.Number, np.generic, dt.date, dt.time, dt.timedelta, dt.tzinfo, uuid.UUID, enum.Enum, bytes, bytearray,
    memoryview,
)  # fmt: skip
"""What holds no text, or none that is looked at: bytes stay as binary columns do, whatever they are."""


def _is_record(node: Any) -> bool:
    return dataclasses.is_dataclass(node) and not isinstance(node, type)


def _known(node: Any) -> Any:
    """The value, if it is known to hold no text. Raises ScanError: what cannot be looked into must not pass.

    Iterators are refused with all others: they can be read only once.
    """
    if isinstance(node, _TEXTLESS) or type(node).__module__.partition(".")[0] == "pandas":  # NA, periods, intervals
        return node
    raise ScanError("unsupported_type")
