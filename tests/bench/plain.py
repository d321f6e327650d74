"""A plain Celery application for comparison: tasks that do nothing."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("plain", broker=os.environ["BENCH_BROKER"], set_as_current=False)
app.conf.update(task_ignore_result=True, task_acks_late=True)


@app.task
def nothing(_: object = None) -> None:
    """Empty."""
