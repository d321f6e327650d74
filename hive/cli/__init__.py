"""The command line `hive`. A module holds the commands of one subject; what they do is imported when they run.

Exit codes: 0 done, 1 the work failed, 2 wrong use or configuration, 130 interrupted.
"""

from __future__ import annotations

import sys

import typer

from hive.cli import bees, config, demo, fail, fly, jars, lease, processes, quarantine, reload, status, up, vault

app = typer.Typer(
    name="hive",
    help="Collects data on schedules, removes what is personal, and lands it exactly once in PostgreSQL.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (up, demo, status, bees, fly, jars, config, reload, quarantine, lease, vault, processes):
    module.register(app)


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
