"""`hive fly`, `hive flights`, `hive flight`, `hive cancel`, `hive retry`: flights by hand, and what became of them."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hive.cli import show

if TYPE_CHECKING:
    from hive.manager import Flight, FlightResult, HiveManager


class Mode(enum.StrEnum):
    CONTINUOUS = "continuous"
    SNAPSHOT = "snapshot"


def register(app: typer.Typer) -> None:
    for command in (fly, flights, flight, cancel, retry):
        app.command()(command)


def fly(
    bee: Annotated[str, typer.Argument(metavar="BEE", help="Name of the bee.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the flight has ended.")] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds to wait at most (implies --wait); the flight goes on.")
    ] = None,
    mode: Annotated[Mode, typer.Option(help="snapshot fills a new jar of its own.")] = Mode.CONTINUOUS,
    full_refresh: Annotated[bool, typer.Option("--full-refresh", help="Read everything anew.")] = False,
    json: show.Json = False,
) -> None:
    """Fly a bee now. With --wait the exit code is 0 for a complete flight and 1 for a failed one."""
    from hive.manager import HiveManager

    with HiveManager() as hive:
        try:
            flying = hive.fly(bee, mode=mode.value, full_refresh=full_refresh)
        except KeyboardInterrupt:
            show.say(f"hive: stopped; whether the flight has begun, `hive flights {bee}` tells")
            raise
        if not hive.block(bee).get("enabled", True):
            show.say(f"hive: {bee} is disabled in its configuration: neither schedules nor events fly it, this does")
        if not wait and timeout is None:
            _tell(flying.result(), json=json)
            return
        try:
            show.step(f"flight {flying.id} has begun")
            result, late = _wait(flying, timeout), False
        except TimeoutError as error:
            result, late = flying.result(), True
            show.say(f"hive: {error}; it goes on: hive flight {flying.id}")
        except KeyboardInterrupt:
            show.say(f"hive: stopped waiting; the flight goes on: hive flight {flying.id}")
            raise
    _tell(result, json=json)
    if late or result.state != "complete":
        raise typer.Exit(1)


def flights(
    bee: Annotated[str | None, typer.Argument(metavar="BEE", help="Only flights of this bee.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
    json: show.Json = False,
) -> None:
    """List the newest flights."""
    from hive.manager import HiveManager

    with HiveManager() as hive:
        found = hive.flights(bee, limit)
    if json:
        show.document([f.json() for f in found])
        return
    rows = [
        (
            f.flight, f.bee, f.state, f.records_read, f.records_landed, f.records_unchanged, f.records_quarantined,
            f.seconds, f.started_at, show.error_text(f.error) or f.warning,
        )
        for f in found
    ]  # fmt: skip
    names = ("flight", "bee", "state", "read", "landed", "unchanged", "quarantined", "seconds", "started", "error")
    show.table(names, rows, empty="nothing has flown yet: `hive fly BEE`")


def flight(
    name: Annotated[str, typer.Argument(metavar="BEE|ID", help="The flight's id, or a bee: its newest flight.")],
    json: show.Json = False,
) -> None:
    """Show one flight, and what scrubbing took out."""
    from hive.manager import HiveManager

    with HiveManager() as hive:
        _tell(hive.flight(_newest(hive, name) or name), json=json)


def _newest(hive: HiveManager, name: str) -> str | None:
    """Id of the newest flight of the bee with this name; None for what is no bee."""
    if not any(bee["name"] == name and bee["queue"] for bee in hive.bees(removed=True)):
        return None
    found = hive.flights(name, 1)
    if not found:
        raise LookupError(f"bee {name!r} has not flown yet: hive fly {name}")
    return found[0].flight


def cancel(
    flight_id: Annotated[str, typer.Argument(metavar="FLIGHT", help="The flight's id.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait until what is sealed has landed.")] = False,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds to wait at most (implies --wait).")] = None,
    json: show.Json = False,
) -> None:
    """End a flight before its source does.

    Reading stops. What is sealed lands, then the flight is cancelled; the bee's next one goes on from there.
    """
    from hive.manager import Flight, HiveManager

    with HiveManager() as hive:
        done = hive.cancel(flight_id)
        if not done.tasks:
            show.say("hive: everything is read already, or reading was stopped before: the flight ends when it landed")
        elif done.landing:
            show.say(f"hive: reading is stopped; batches that land before the flight is cancelled: {done.landing}")
        late = False
        try:
            if wait or timeout is not None:
                _wait(Flight(flight_id, hive), timeout)
        except TimeoutError as error:
            show.say(f"hive: {error}")
            late = True
        _tell(hive.flight(flight_id), json=json)
    if late:
        raise typer.Exit(1)


def retry(
    flight_id: Annotated[str, typer.Argument(metavar="FLIGHT", help="The flight's id.")], json: show.Json = False
) -> None:
    """Try a failed or cancelled flight again.

    Its dead batches are landed from quarantine; what it left unread is read by a new flight.
    """
    from hive.manager import HiveManager

    with HiveManager() as hive:
        done = hive.retry(flight_id)
    if json:
        show.document({**done.__dict__, "refused": list(done.refused)})
    else:
        show.fields({**done.__dict__, "refused": len(done.refused)})
        for one in done.refused:
            show.say(f"hive: quarantined {one['id']}: {one['message']}")
        if done.again:
            show.say(f"hive: flight {done.flight} was retried before, by the flight {done.new_flight}")
        if done.new_flight is None:
            show.say("hive: everything had been read, so no new flight is needed")
    if done.refused:
        raise typer.Exit(1)


def _wait(flying: Flight, timeout: float | None) -> FlightResult:
    with show.working("waits for a worker") as line:

        def moved(result: FlightResult) -> None:
            line.update(f"{result.bee}: {result.state}, {result.records_read} read, {result.records_landed} landed")

        return flying.wait(timeout, watch=moved)


def _tell(result: FlightResult, *, json: bool) -> None:
    if json:
        show.document(result.json())
        return
    told: dict[str, Any] = result.json()
    told["error"] = show.error_text(result.error) or None
    told["started_at"], told["finished_at"] = result.started_at, result.finished_at
    lines, aside = told.pop("scrubbed", None), told.pop("set_aside", None)
    if told["warning"] is None:
        del told["warning"]
    show.fields(told)
    if lines:
        print()
        show.table(("field", "kind", "action", "taken out"), [tuple(line.values()) for line in lines], empty="")
    if aside:
        print()
        show.table(("set aside", "reason", "records"), [tuple(line.values()) for line in aside], empty="")
        show.say("hive quarantine list names each of them")
