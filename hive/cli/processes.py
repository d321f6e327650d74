"""The hive's processes, each by itself: what `hive up` starts, and what a deployment runs one by one."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

_GRACE = 15.0
"""Seconds in which a part of `hive up` may end by itself once that is gone."""


def _quietly() -> list[str]:
    """Celery's pictures are for people: into a log goes one JSON object a line and nothing else."""
    return [] if sys.stderr.isatty() else ["--quiet"]


def _end_with_its_hive() -> bool:
    """Whether this is a part of `hive up`; then nothing of a hive that was killed stays."""
    from hive.embedded.process import end_with_parent
    from hive.settings import settings

    if settings().ready_file is None:
        return False
    end_with_parent(_GRACE)
    return True


def register(app: typer.Typer) -> None:
    for command in (worker, beat, janitor, gateway, flower):
        app.command(rich_help_panel="Processes")(command)


def worker(
    queues: Annotated[str, typer.Option("--queues", "-Q", help="Queues to work for, separated by commas.")],
    concurrency: Annotated[int, typer.Option("--concurrency", "-c", min=1, help="Processes of this worker.")] = 2,
) -> None:
    """Work for some queues.

    The same as `celery -A hive worker -Q LIST -c N`.
    """
    from hive.celery import QUEUES, app
    from hive.config.problems import did_you_mean

    names = [name.strip() for name in queues.split(",") if name.strip()]
    for name in names:
        if name not in QUEUES:
            near = did_you_mean(name, QUEUES) or f"; there are {', '.join(QUEUES)}"
            raise typer.BadParameter(f"no queue is named {name!r}{near}", param_hint="--queues")
    # Flower is beside a part of `hive up`; it asks other workers for their events, but only every five seconds.
    events = ["--task-events"] if _end_with_its_hive() else []
    name = f"{'.'.join(names)}@%h"
    argv = [*_quietly(), "worker", "-Q", ",".join(names), "-c", str(concurrency), "-n", name]
    app.worker_main([*argv, "--without-gossip", "--without-mingle", *events])


def beat() -> None:
    """Make the due flights, look after what flies.

    The same as `celery -A hive beat`; any number may run.
    """
    from hive.celery import app

    _end_with_its_hive()
    app.start([*_quietly(), "beat", "--loglevel", "WARNING"])


def janitor() -> None:
    """Take back what dead workers hold.

    And close what is done. Beat does this too; any number may run.
    """
    from hive.janitor import run

    _end_with_its_hive()
    run()


def gateway() -> None:
    """Answer on HTTP.

    Pages with a login, /healthz, /metrics, /status and webhooks.
    """
    from hive.gateway.serve import serve
    from hive.logs import configure
    from hive.settings import settings

    configure()
    _end_with_its_hive()
    serve(settings())


def flower() -> None:
    """Show workers and tasks on a page with a login.

    The same as `celery -A hive flower`.
    """
    from hive.celery import app
    from hive.logs import configure

    configure()
    _end_with_its_hive()
    app.start([*_quietly(), "flower", "--logging=none"])  # Tornado would write lines of its own form
