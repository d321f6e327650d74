"""The Celery application, where `celery -A hive` looks for it. Queues, limits and Flower's options; no logic.

Why each setting that is not Celery's default is here: Redis and Celery deliver hints, at least once or not at all;
PostgreSQL owns the truth. So nothing may be kept in the broker (no result backend, no countdown), a message is
acknowledged when its work is done, and what is lost is hinted again by the janitor.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
from celery import Celery, bootsteps, signals
from kombu import Queue
from kombu.utils.json import dumps

from hive import crash
from hive.ledger.hints import Hint, celery_id
from hive.settings import NotRunning, export_flower_options, settings
from hive.telemetry import traces
from hive.telemetry.switch import keep_redis_from_it

keep_redis_from_it()
from kombu.transport import redis  # noqa: E402 - only now

QUEUES = ("bees.database", "bees.file", "bees.api", "bees.stream", "bees.directory", "nectar", "nectar.embed")
HARD_LIMIT = 3600
GATHERED = 0.5
"""Seconds for which a worker's events are gathered; those of a full buffer leave at once."""

log = structlog.get_logger()

_TASKS = {"plan": "bees.collect", "collect": "bees.collect", "process": "nectar.process"}


class _QoS(redis.QoS):
    """Bookkeeping of messages in hand, which survives the loss of the connection that brought them.

    A task that ends after its connection was closed is acknowledged on a channel without a client, for which kombu
    raises AttributeError, and the worker ends. As a lost connection it is only noted: the message comes again, and the
    ledger knows that its work is done. The same where a broker is lost twice at once: the channel gives its messages
    back as it closes, and has nobody to give them to.

    A message whose end the broker could not be told, because that one connection broke, is out of hand all the same.
    kombu counts it for ever, and a worker takes no more than it has processes: then none, without a word.
    """

    def append(self, message: Any, delivery_tag: str) -> None:
        crash.point("message:taken")  # Redis has it no more, and nobody wrote down yet who has it
        super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        self._require_client()
        with self._out_of_hand(delivery_tag):
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        self._require_client()
        with self._out_of_hand(delivery_tag):
            super().reject(delivery_tag, requeue=requeue)

    @contextmanager
    def _out_of_hand(self, delivery_tag: str) -> Iterator[None]:
        try:
            yield
        except Exception:
            if delivery_tag in self._delivered:
                self._quick_ack(delivery_tag)
            raise

    def restore_unacked(self, client: Any = None) -> None:
        if client is None and self._client_is_gone():
            self._delivered.clear()
            return
        try:
            super().restore_unacked(client)
        except self.channel.connection_errors:
            self._delivered.clear()

    def _client_is_gone(self) -> bool:
        return getattr(self.channel.connection, "client", None) is None

    def _require_client(self) -> None:
        if self._client_is_gone():
            raise ConnectionResetError("the connection that brought this message is gone")


redis.Channel.QoS = _QoS

FIRST = 9
"""Priority of a message that goes before all that waits in its queue."""
_put_last = redis.Channel._put  # noqa: SLF001 - what Redis is told of a message has no other place


def _put(self: redis.Channel, queue: str, message: dict[str, Any], **more: Any) -> None:
    """A queue stays one list, whose right end workers take from.

    Kombu would keep a list for each priority, which whoever counts or looks at messages must know.
    """
    if message["properties"].get("priority") != FIRST or "_publish_batch" in more:
        _put_last(self, queue, message, **more)
        return
    with self.conn_or_acquire() as client:
        client.rpush(queue, dumps(message))


redis.Channel._put = _put  # noqa: SLF001
_new_client = redis.Channel._create_client  # noqa: SLF001 - the only place where a channel makes them


def _create_client(self: redis.Channel, asynchronous: bool = False) -> Any:
    """One client for all that a channel says over its pool, and not another one for each of its words.

    Kombu takes one twice for each message that comes, and once for each that goes; making it takes longer than what it
    is made for. It holds nothing but the pool.
    """
    if asynchronous:
        return _new_client(self, asynchronous=True)
    held = vars(self).get("_kept_client")
    if held is None or held.connection_pool is not self.pool:
        held = vars(self)["_kept_client"] = _new_client(self)
    return held


redis.Channel._create_client = _create_client  # noqa: SLF001


def _broker() -> str:
    try:
        return settings().redis()
    except NotRunning:
        return "redis://127.0.0.1:6379/0"


app = Celery("hive", broker=_broker(), include=["hive.tasks"])
app.conf.update(
    task_queues=[Queue(name) for name in QUEUES],
    task_default_queue="bees.database",
    task_create_missing_queues=False,
    task_acks_late=True,
    task_reject_on_worker_lost=False,
    task_acks_on_failure=True,
    task_acks_on_timeout=True,
    task_ignore_result=True,
    result_backend=None,
    task_serializer="json",
    accept_content=["json"],
    event_serializer="json",
    task_time_limit=HARD_LIMIT,
    task_publish_retry=False,
    worker_prefetch_multiplier=1,
    worker_max_tasks_per_child=5000,
    worker_proc_alive_timeout=60,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_soft_shutdown_timeout=8,
    worker_enable_soft_shutdown_on_idle=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_channel_error_retry=True,
    broker_pool_acquire_timeout=5,
    broker_transport_options={
        "priority_steps": [0],
        "visibility_timeout": HARD_LIMIT + 600,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 5,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 4,  # a broker that vanished without a word is noticed after some ten seconds
    },
    beat_scheduler="hive.beat:HiveScheduler",
    beat_max_loop_interval=1,
)


def send(hints: Sequence[Hint]) -> None:
    """Tell the broker, best effort: a hint that does not arrive is sent again by the janitor."""
    for hint in hints:
        try:
            with traces.published(hint) as headers:
                app.send_task(
                    _TASKS[hint.kind],
                    args=[hint.ref],
                    queue=hint.queue,
                    task_id=hint.celery_id,
                    root_id=str(hint.flight),
                    parent_id=celery_id(hint.flight, hint.parent) if hint.parent is not None else None,
                    retry=False,
                    ignore_result=True,
                    headers=headers,
                    priority=FIRST if hint.goes_first else None,
                )
        except Exception as error:  # noqa: BLE001 - away, full or half dead: it is so for the other hints too
            log.warning("hint.unsent", kind=type(error).__name__)
            return


class Gathered(bootsteps.StartStopStep):
    """A worker's events of tasks leave together, twice a second, and not each by itself.

    Celery gathers them, and lets them go as soon as its loop comes by: with small tasks that is one message for each
    event. One alone costs 0.2 ms of the worker's parent, one among many 0.02, and Flower takes them in as they come.
    """

    requires = ("celery.worker.consumer.events:Events",)

    def __init__(self, consumer: Any, **told: Any) -> None:
        self._timer: Any = None
        super().__init__(consumer, **told)

    def start(self, consumer: Any) -> None:
        """With each connection anew: its dispatcher is another one."""
        dispatcher = consumer.event_dispatcher
        if dispatcher is None or not consumer.hub:
            return
        dispatcher.on_send_buffered = None
        self._timer = consumer.timer.call_repeatedly(GATHERED, dispatcher.flush)

    def stop(self, consumer: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if consumer.event_dispatcher is not None:
            consumer.event_dispatcher.flush()


app.steps["consumer"].add(Gathered)


@signals.before_task_publish.connect
def _leave_out_nothings(headers: dict[str, Any] | None = None, **_: Any) -> None:
    """Headers that say nothing, a third of a message: Celery's workers take a missing one for its default."""
    for name in [name for name, value in (headers or {}).items() if value in (None, [], {}, [None, None])]:
        del (headers or {})[name]


def queue_lengths() -> dict[str, int]:
    """Messages that wait in each queue. Raises the transport's connection errors."""
    with app.connection_for_read() as connection:
        client = connection.default_channel.client
        pipe: Any = client.pipeline()
        for name in QUEUES:
            pipe.llen(name)
        return dict(zip(QUEUES, pipe.execute(), strict=True))


if "flower" in sys.argv[1:]:
    # Also for the plain `celery -A hive flower`, from any folder: loopback, a login, nothing but reading.
    export_flower_options()
