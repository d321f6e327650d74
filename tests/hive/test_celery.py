"""The Celery application: what it does with a broker that comes and goes."""

from __future__ import annotations

import logging

from kombu import Connection, Producer

from hive.celery import app


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


def test_nothing_is_kept_in_the_broker():
    assert app.conf.result_backend is None
    assert app.conf.task_ignore_result
    assert app.conf.accept_content == ["json"]
