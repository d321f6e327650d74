"""`hive status`: what works, what waits, what is broken."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hive.cli import show
from hive.cli.ledger import ledger

if TYPE_CHECKING:
    from hive.metrics.broker import Broker
    from hive.runtime import Runtime

_SILENCE = 2.0
"""Seconds without an answer after which the database counts as away; a look that it works at may take longer."""
_TOLD = ("stuck", "late", "quiet", "lagging", "waiting")
"""States whose `why` says more than the columns beside it."""


def register(app: typer.Typer) -> None:
    app.command()(status)


def status(
    json: show.Json = False,
    live: Annotated[
        bool | None,
        typer.Option("--live/--once", help="A screen that stays, or one look. Without it: live on a terminal."),
    ] = None,
) -> None:
    """Show what works, what waits and what is broken."""
    if live or (live is None and not json and sys.stdin.isatty() and sys.stdout.isatty()):
        from hive.cli.live import watch
        from hive.metrics.broker import Broker
        from hive.settings import settings

        with (
            ledger(answer_limit=_SILENCE) as rt,
            contextlib.closing(Broker(settings())) as broker,
            contextlib.suppress(KeyboardInterrupt),
        ):
            watch(lambda: _live(rt, broker))
        return
    with ledger(answer_limit=_SILENCE) as rt:
        found = _found(rt)
    if json:
        show.document(found)
        return
    _tell(found)


def _tell(found: Mapping[str, Any]) -> None:
    names = ("version", "config_version", "database", "gateway", "flower", "started_at")
    show.fields({name: found[name] for name in names if found[name]})
    print()
    workers = [
        (w["id"], w["status"], w["queues"] or "beat or janitor", w["bee"], w["task"], f"{w['rss'] >> 20} MB",
         w["last_heartbeat"])
        for w in found["workers"]
    ]  # fmt: skip
    show.table(
        ("worker", "status", "queues", "bee", "task", "memory", "heard of"),
        workers,
        empty="no worker has been heard of",
    )
    print()
    queues = [(q["name"], q["due"], f"{q['oldest']:.0f} s", q["waiting"], q["running"]) for q in found["queues"]]
    show.table(("queue", "due", "oldest", "waiting", "running"), queues, empty="nothing waits and nothing runs")
    print()
    _warn(found)
    _bees(found)


def _warn(found: Mapping[str, Any]) -> None:
    """What is wrong with the hive itself, not with a bee."""
    if found["broker_answers"] is False:
        show.say("warning: the broker does not answer, so workers hear of nothing: hive doctor")
    if not any(w["status"] not in ("lost", "quiet") and not w["queues"] for w in found["workers"]) and found["bees"]:
        show.say("warning: no scheduler lives, so nothing flies by its schedule: hive beat")
    if quiet := [w["id"] for w in found["workers"] if w["status"] == "quiet"]:
        show.say(f"warning: no heartbeat of {', '.join(quiet)} for some seconds: hive doctor")
    if told := found["config_refused"]:
        show.say(
            f"warning: the configuration {told['source']} was refused at {show.cell(told['at'])}, the older one flies:"
        )
        for problem in told["problems"]:
            show.say(f"  {problem}")


def _found(rt: Runtime) -> dict[str, Any]:
    from hive.settings import settings
    from hive.status import look, with_grounded
    from hive.versions import grounded_bees

    found = look(rt.db)
    with rt.db.single() as tx:
        left_out = grounded_bees(tx)
    found["bees"] = with_grounded(found["bees"], left_out)
    state = settings().running()
    found["database"] = _address(settings().database())
    found["broker_answers"] = _broker_answers()
    return found | {name: state.get(name) for name in ("gateway", "flower", "started_at")}


def _broker_answers() -> bool | None:
    """None: no broker is known."""
    from hive.metrics.broker import Broker
    from hive.settings import settings

    broker = Broker(settings())
    try:
        return broker.answers()
    finally:
        broker.close()


def _live(rt: Runtime, broker: Broker) -> dict[str, Any]:
    """For the screen: with totals, whose growth it shows."""
    from hive.settings import settings
    from hive.status import look

    found = look(rt.db)
    with rt.db.transaction() as tx:
        pace = tx.run("pace").fetchone()
    assert pace is not None
    found["broker_answers"] = broker.answers()
    return found | {"pace": pace._asdict(), "gateway": settings().running().get("gateway")}


def _bees(found: Mapping[str, Any]) -> None:
    bees: Sequence[Sequence[Any]] = [
        (
            b["name"],
            b["connector"],
            b.get("state"),
            _flies(b),
            b["last_state"],
            b["last_finished"],
            b["next_slot"],
            b.get("why") if b.get("state") in _TOLD else None,
            b["cannot_fly"],
            b["error"],
            b["advice"],
        )
        for b in found["bees"]
    ]
    names: Sequence[str] = (
        "bee", "connector", "state", "enabled", "last flight", "ended", "next slot", "why", "cannot fly", "error",
        "advice",
    )  # fmt: skip
    for _ in ("advice", "error", "cannot fly", "why"):
        names, bees = show.trimmed(names, bees)
    show.table(names, bees, empty="there are no bees")


def _address(url: str) -> str:
    """Of the jars, for psql and the like; the password is in the data folder's state file, or yours."""
    from sqlalchemy.engine import make_url

    return make_url(url).render_as_string(hide_password=True)


def _flies(bee: Mapping[str, Any]) -> Any:
    from hive.status import left_alone

    if not bee["enabled"] or bee["paused_at"]:
        return "paused" if bee["enabled"] else False
    why = left_alone(bee)
    return f"{why} until {show.cell(bee['retry_at'])}" if why else True
