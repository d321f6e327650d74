"""`hive up` and `hive down`: the whole hive on this machine."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hive.cli import show

if TYPE_CHECKING:
    from hive.settings import Settings

Data = Annotated[Path | None, typer.Option(help="Folder of servers, keys and state. [default: HIVE_DATA_DIR or .hive]")]


def register(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(down)


def up(
    config: Annotated[Path | None, typer.Option(help="File that names the bees. [default: HIVE_CONFIG]")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return when it is ready, and let it run.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Take the configuration into use again whenever its files change.")
    ] = False,
    data: Data = None,
) -> None:
    """Start the whole hive and keep it running until Ctrl-C.

    Servers first, then beat, a worker for each queue, the gateway and Flower.

    SIGHUP takes a changed configuration into use, as `hive reload` does.

    HIVE_DATABASE_URL and HIVE_REDIS_URL name servers of your own; where they are not set, embedded ones are started.
    """
    with _ending_at_once():
        from hive.config.load import absolute, load
        from hive.embedded import places
        from hive.running import log_folder
        from hive.settings import environment
        from hive.supervisor import detach as start

        chosen = _settings(data, config, watch=watch)
        if chosen.config is not None:
            show.unscrubbed(load(chosen.config, environ=environment()))  # what is wrong is said before anything starts
        first = not (chosen.data_dir / "flower.secret").exists()
        if not detach:
            _run(chosen, first=first)
            return
    options = ["--config", absolute(chosen.config)] if chosen.config else []
    options += ["--watch"] if chosen.watch else []
    if first:  # made here: the process in the background would tell a new one, to its log
        places.secret(log_folder(chosen).parent / "flower.secret")
    with show.working("the hive starts"):
        state: Mapping[str, Any] = start(chosen, [sys.executable, "-m", "hive", "up", *options])
    _announce(chosen, state, first=first)
    there = f" --data {data}" if data is not None else ""
    show.say(f"it runs in the background; `hive down{there}` stops it")
    if data is not None:
        show.say(f"for the other commands: export HIVE_DATA_DIR={data.resolve()}")


def _run(chosen: Settings, *, first: bool) -> None:
    from hive.logs import configure
    from hive.supervisor import Supervisor

    configure()
    with show.working("the hive starts") as line:

        def ready(state: Mapping[str, Any]) -> None:
            line.end()
            _announce(chosen, state, first=first)

        Supervisor(chosen).run(on_ready=ready)
    show.say("the hive has stopped")
    sys.stdout.flush()
    # All of ours is ended. Threads of libraries that the signal caught in the middle of their import are not, and
    # abort the interpreter's own way out now and then ("FATAL: exception not rethrown").
    os._exit(0)


def down(data: Data = None) -> None:
    """Stop the hive of a data folder."""
    from hive.supervisor import down as stop

    chosen = _settings(data, None)
    with show.working("the hive stops"):
        ran = stop(chosen)
    show.say("the hive has stopped" if ran else f"no hive was running on the data folder {chosen.data_dir}")


@contextmanager
def _ending_at_once() -> Iterator[None]:
    """Ctrl-C ends the process without a word, until the supervisor listens: there is nothing yet to tidy up.

    A KeyboardInterrupt would be lost where Python calls back from C, as it does at the end of each import.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _settings(data: Path | None, config: Path | None, *, watch: bool = False) -> Settings:
    from hive.settings import Settings

    given: dict[str, Any] = {"data_dir": data, "config": config, "watch": watch or None}
    return Settings(**{name: value for name, value in given.items() if value is not None})


def _announce(chosen: Settings, state: Mapping[str, Any], *, first: bool) -> None:
    login = state["flower_login"]
    password = login["password"] if first else f"in {chosen.data_dir / 'flower.secret'}"
    show.fields(
        {
            "hive": f"ready, process {state['pid']}",
            "gateway": state["gateway"],
            "flower": state["flower"],
            "login": f"user {login['user']}, password {password}",
            "logs": str(chosen.data_dir.resolve() / "logs"),
        }
    )
    sys.stdout.flush()
