"""The Celery application: what it does with a broker that comes and goes."""

from __future__ import annotations

import datetime as dt
import logging
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Connection, Producer

import hive.celery
from hive.celery import Gathered, app
from hive.embedded.places import free_port
from hive.ledger.hints import ADHOC, SCHEDULED, Hint

HINTS = [Hint(dt.date(2026, 11, 21), n, "process", "nectar", uuid.UUID(int=n), None, SCHEDULED) for n in (1, 2)]


def test_a_task_that_ends_after_its_connection_does_not_end_its_worker(redis_url, caplog):
    with Connection(redis_url) as connection:
        queue = connection.SimpleQueue("made-up", no_ack=False)
        Producer(connection.channel()).publish({"n": 1}, routing_key="made-up")
        message = queue.get(timeout=5)
        errors = connection.connection_errors
    with caplog.at_level(logging.CRITICAL):
        message.ack_log_error(logging.getLogger("made-up"), errors)

    assert "Couldn't ack" in caplog.text


def test_a_message_on_an_open_connection_is_acknowledged(redis_url):
    with Connection(redis_url) as connection:
        queue = connection.SimpleQueue("made-up", no_ack=False)
        Producer(connection.channel()).publish({"n": 1}, routing_key="made-up")
        queue.get(timeout=5).ack()

        assert connection.default_channel.client.hlen("unacked") == 0


def test_a_broker_that_is_lost_twice_at_once_does_not_end_the_worker(redis_url):
    """Closing, a channel gives back what it has in hand, and by then has no connection to do it with."""
    with Connection(redis_url) as connection:
        channel = connection.channel()
        Producer(channel).publish({"n": 1}, routing_key="made-up")
        queue = connection.SimpleQueue("made-up", no_ack=False)
        message = queue.get(timeout=5)
        qos = message.channel.qos
        message.channel.connection.client = None

        qos.restore_unacked_once()

    assert not qos._delivered


@pytest.mark.parametrize("trouble", ["away", "full"])
def test_a_hint_that_cannot_be_sent_is_no_error(redis_url, monkeypatch, trouble):
    address = f"redis://127.0.0.1:{free_port()}/0" if trouble == "away" else redis_url
    told = Celery("told", broker=address, set_as_current=False)
    told.conf.update(task_queues=app.conf.task_queues, task_ignore_result=True)
    monkeypatch.setattr(hive.celery, "app", told)
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory", "1" if trouble == "full" else "0")
        try:
            hive.celery.send(HINTS)
        finally:
            client.config_set("maxmemory", "0")

        assert client.llen("nectar") == 0
    told.close()


def test_what_somebody_asks_for_is_taken_before_all_that_waits(redis_url, monkeypatch):
    told = Celery("told", broker=redis_url, set_as_current=False)
    options = app.conf.broker_transport_options
    told.conf.update(task_queues=app.conf.task_queues, broker_transport_options=options, task_ignore_result=True)
    monkeypatch.setattr(hive.celery, "app", told)
    kinds = [("plan", SCHEDULED), ("collect", SCHEDULED), ("plan", ADHOC), ("collect", ADHOC)]
    hints = [
        Hint(dt.date(2026, 11, 21), n, kind, "bees.file", uuid.UUID(int=n), None, priority)
        for n, (kind, priority) in enumerate(kinds)
    ]

    hive.celery.send(hints)

    with Connection(redis_url, transport_options=options) as connection:
        queue = connection.SimpleQueue("bees.file")
        assert connection.default_channel.client.llen("bees.file") == 4
        taken = [queue.get(timeout=5) for _ in hints]
        assert [message.payload[0] for message in taken] == [[f"20261121.{n}"] for n in (2, 0, 1, 3)]
        taken[0].requeue()
        assert queue.get(timeout=5).payload[0] == ["20261121.2"]
    told.close()


def test_nothing_is_kept_in_the_broker():
    assert app.conf.result_backend is None
    assert app.conf.task_ignore_result
    assert app.conf.accept_content == ["json"]


def test_what_a_worker_loads_before_it_forks_starts_no_thread():
    """A lock that another thread holds at the fork would stay locked in the child for ever."""
    code = (
        "import os, sys; import hive.tasks; from hive.flight.warm import share\n"
        "count = lambda: len(os.listdir('/proc/self/task'))\n"
        "before = count(); share(['nectar'])\n"
        "print('nectar.scrub.recognisers' in sys.modules, 'polars' in sys.modules, count() - before)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "HIVE_DATA_DIR": "/nowhere"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["True", "False", "0"]


def test_events_of_tasks_leave_together():
    sent: list[Any] = []
    timers: list[Callable[[], None]] = []
    dispatcher = app.events.Dispatcher(
        enabled=False, buffer_group=["task"], on_send_buffered=lambda: sent.append("alone")
    )
    dispatcher.enabled, dispatcher._closed = True, False  # as with a connection
    dispatcher.producer = SimpleNamespace(publish=lambda body, **_: sent.append(body))
    timer = SimpleNamespace(call_repeatedly=lambda _, go: timers.append(go) or SimpleNamespace(cancel=timers.clear))
    consumer = SimpleNamespace(event_dispatcher=dispatcher, hub=object(), timer=timer)
    step = Gathered(consumer)

    step.start(consumer)
    for kind in ("received", "started", "succeeded"):
        dispatcher.send(f"task-{kind}", uuid="x")
    before = list(sent)
    timers[0]()
    timers[0]()
    dispatcher.send("task-received", uuid="y")
    step.stop(consumer)

    assert before == []
    assert [[event["type"] for event in events] for events in sent] == [
        ["task-received", "task-started", "task-succeeded"], ["task-received"],
    ]  # fmt: skip
    assert timers == []
