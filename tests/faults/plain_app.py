"""Chains of three tasks in plain Celery, with the settings that are usually recommended so that nothing gets lost."""

from __future__ import annotations

import os
import time
from typing import Any

import psycopg
from celery import Celery

WORK = 0.2
"""Seconds that a step takes, about what a flight of ours takes to read a page and to scrub it."""
VISIBILITY = 5
"""An hour by default: here short, so that what is delivered again is so within the run."""

app = Celery("plain", broker=os.environ["PLAIN_BROKER"], set_as_current=False)
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    task_default_queue="reading",
    task_routes={"tests.faults.plain_app.land": {"queue": "landing"}},
    broker_transport_options={
        "visibility_timeout": VISIBILITY,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "socket_timeout": 10,
        "socket_connect_timeout": 3,
    },
)
AGAIN: dict[str, Any] = {"autoretry_for": (psycopg.OperationalError,), "retry_backoff": 1, "max_retries": 10}


@app.task(**AGAIN)
def read(first: int, count: int) -> list[int]:
    """The records of one flight, by number, asked of a database as a reader would."""
    time.sleep(WORK)
    with psycopg.connect(os.environ["PLAIN_DATABASE"], connect_timeout=5) as connection:
        rows = connection.execute("SELECT generate_series(%s::int, %s::int)", [first, first + count - 1]).fetchall()
    return [number for (number,) in rows]


@app.task
def scrub(numbers: list[int]) -> list[int]:
    """Nothing is taken out here: it is the step that counts."""
    time.sleep(WORK)
    return numbers


@app.task(**AGAIN)
def land(numbers: list[int]) -> None:
    """One transaction, like ours; without a ledger it cannot know what landed before."""
    with psycopg.connect(os.environ["PLAIN_DATABASE"], connect_timeout=5) as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO landed (id) VALUES (%s)", [[number] for number in numbers])
