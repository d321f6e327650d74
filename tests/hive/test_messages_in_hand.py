"""What Celery's transport counts as in hand: a connection that breaks leaves no message in it for ever."""

from __future__ import annotations

import pytest
import redis
from kombu import Connection

from hive import celery

pytestmark = pytest.mark.servers

WORKERS = 2


@pytest.fixture
def channel(valkey):
    """A worker's channel with as many messages in hand as it may have, and more of them waiting."""
    assert celery.redis.Channel.QoS is celery._QoS
    with Connection(valkey.url(7)) as connection:
        with connection.SimpleQueue("held") as queue:
            for number in range(5):
                queue.put({"n": number})
        channel = connection.channel()
        channel.basic_qos(0, WORKERS, False)
        yield channel
        channel.close()


def take(channel, number=WORKERS):
    return [channel.basic_get("held").delivery_tag for _ in range(number)]


@pytest.mark.parametrize("end", ["basic_ack", "basic_reject"])
def test_one_whose_end_could_not_be_told_takes_up_no_room(channel, monkeypatch, end):
    first, second = take(channel)
    assert not channel.qos.can_consume()

    def cut(*_, **__):
        raise redis.ConnectionError("cut")

    with monkeypatch.context() as patch:
        patch.setattr(channel.qos, "_remove_from_indices", cut)
        with pytest.raises(redis.ConnectionError):
            getattr(channel, end)(first)
        assert channel.qos.can_consume()
        with pytest.raises(redis.ConnectionError):
            getattr(channel, end)(second)

    assert channel.qos.can_consume_max_estimate() == WORKERS
    assert take(channel)
    assert not channel.qos.can_consume()


def test_one_that_nobody_has_in_hand_makes_no_room(channel, monkeypatch):
    take(channel)

    def cut(*_, **__):
        raise redis.ConnectionError("cut")

    monkeypatch.setattr(channel.qos, "_remove_from_indices", cut)
    with pytest.raises(redis.ConnectionError):
        channel.basic_ack("of another channel")

    assert not channel.qos.can_consume()


def test_a_channel_speaks_by_one_client_until_its_pool_is_another(channel):
    with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
        assert first is second
        assert first.ping()
    assert channel.client is not first  # the one that waits for messages has its own connections

    channel._disconnect_pools()
    with channel.conn_or_acquire() as third:
        assert third is not first
        assert third.connection_pool is channel.pool
        assert third.ping()
