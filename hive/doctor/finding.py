"""What the doctor finds, and how it is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from hive.ledger.db import Transaction

MOST_ALIKE = 20


@dataclass(frozen=True)
class Finding:
    """`what` is wrong or waits, at which place (`where`), `why`, and the `next` command."""

    level: Literal["wrong", "waiting"]
    what: str
    where: str
    why: str
    next: str

    def json(self) -> dict[str, str]:
        return asdict(self)


def wrong(what: str, where: str, why: str, then: str) -> Finding:
    return Finding("wrong", what, where, why, then)


def waiting(what: str, where: str, why: str, then: str) -> Finding:
    return Finding("waiting", what, where, why, then)


def arranged(found: list[Finding]) -> list[Finding]:
    """What is wrong first; of very many alike only the first ones, and how many more there are."""
    alike: dict[tuple[str, str], list[Finding]] = {}
    for finding in found:
        alike.setdefault((finding.level, finding.what), []).append(finding)
    told = []
    for group in alike.values():
        told += group[:MOST_ALIKE]
        if len(group) > MOST_ALIKE:
            told.append(
                replace(group[MOST_ALIKE], where=f"{group[MOST_ALIKE].where}, and {len(group) - MOST_ALIKE - 1} more")
            )
    return sorted(told, key=lambda finding: finding.level != "wrong")


def asked(tx: Transaction, statement: str, **values: Any) -> list[Any]:
    return tx.run(statement, **values).fetchall()


def told(error: Mapping[str, Any] | None) -> str:
    """A ledger's error in one line; it holds no value by its contract."""
    if not error:
        return "nothing is known"
    advice = f" - {error['advice']}" if error.get("advice") else ""
    return f"{error.get('message') or error.get('code') or 'unknown'}{advice}"


def at(moment: Any) -> str:
    return str(moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")) if moment is not None else "a time unknown"
