"""The command line `hive`. A module holds the commands of one subject; what they do is imported when they run.

Exit codes: 0 done, 1 the work failed, 2 wrong use or configuration, 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hive.cli import (
    balance,
    bees,
    combs,
    config,
    demo,
    doctor,
    fail,
    fly,
    jars,
    lease,
    processes,
    quarantine,
    reload,
    replication,
    scrub,
    slots,
    status,
    up,
    user,
    vault,
)

app = typer.Typer(
    name="hive",
    help="Collects data on schedules, removes what is personal, and lands it exactly once in PostgreSQL.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (
    up, demo, status, doctor, bees, combs, fly, jars, config, reload,
    quarantine, scrub, slots, replication, lease, balance, vault, user, processes,
):  # fmt: skip
    module.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        import importlib.metadata

        print(importlib.metadata.version("worker-bees"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[  # noqa: ARG001 - its own callback prints it
        bool, typer.Option("--version", help="Print the version and leave.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    from hive.logs import for_commands

    for_commands()


def main() -> None:
    """Run the command of `sys.argv`. An error that a person can mend is told in words, without a traceback."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # here, where a reader that went away can still be told from a failure
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        fail.silence_output()
        sys.exit(1)
    except Exception as error:
        told = fail.explain(error)
        if told is None:
            raise
        print(f"hive: {told.message}", file=sys.stderr)
        sys.exit(told.code)
