"""`hive doctor`: what is stuck, waiting or wrong, and what to run next."""

from __future__ import annotations

import typer

from hive.cli import show


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(json: show.Json = False) -> None:
    """Find what is stuck or wrong, and what to run next.

    The exit code is 1 if something is wrong, 0 if all is well or only waits.
    """
    from hive.doctor import examine

    with show.working("looks around"):
        found = examine()
    wrong = sum(finding.level == "wrong" for finding in found)
    if json:
        show.document({"healthy": not wrong, "findings": [finding.json() for finding in found]})
    else:
        for finding in found:
            print(
                f"{finding.level}: {finding.what}: {finding.where}\n    why   {finding.why}\n    next  {finding.next}"
            )
        said = "1 thing is wrong" if wrong == 1 else f"{wrong} things are wrong" if wrong else "nothing is wrong"
        rest = len(found) - wrong
        show.say(f"hive: {said}, {rest} {'waits or was' if rest == 1 else 'wait or were'} asked for")
    if wrong:
        raise typer.Exit(1)
