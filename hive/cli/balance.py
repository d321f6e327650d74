"""`hive balance`: what each queue has to do, and whether its workers are enough."""

from __future__ import annotations

from typing import Annotated

import typer

from hive.cli import show


def register(app: typer.Typer) -> None:
    app.command()(balance)


def balance(
    apply: Annotated[bool, typer.Option("--apply", help="Give the pools the processes that are proposed.")] = False,
    json: show.Json = False,
) -> None:
    """Move waiting work to live workers, propose pool sizes.

    What moves: tasks in the hands of dead workers, and hints that were lost. What is proposed: as many processes as
    what arrives and what waits for a minute takes.
    """
    from hive.manager import HiveManager

    with HiveManager() as hive, show.working("asks the workers"):
        found = hive.balance(apply=apply)
    if json:
        show.document(found.json())
        return
    queues = [
        (
            q.name, q.waiting, q.running, q.oldest_wait, q.arrivals_per_minute, q.services_per_minute, q.task_seconds,
            q.processes, q.proposed,
        )
        for q in found.queues
    ]  # fmt: skip
    names = ("queue", "waiting", "running", "oldest s", "arrive/min", "done/min", "s each", "processes", "proposed")
    show.table(names, queues, empty="nothing waits, nothing ran lately, and no worker is alive")
    print()
    pools = [(p.node, p.queues, p.processes, p.proposed, p.said or None) for p in found.pools]
    empty = "no worker answers" if found.broker else "the broker cannot be reached, so no worker could be asked"
    show.table(("worker", "queues", "processes", "proposed", "said"), pools, empty=empty)
    moved = found.moved
    show.say(
        f"hive: {moved.taken_back} tasks taken back from dead workers, {moved.hinted} hinted, "
        f"{moved.hinted_again} hinted again"
    )
    if not apply and any(p.proposed != p.processes for p in found.pools):
        show.say("`hive balance --apply` gives the pools what is proposed")
