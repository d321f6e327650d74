"""All tables, as SQLAlchemy Core: the one description of the schema.

The migrations create them; a test holds the migrated database against this module. Groups, in order: who flies (bee,
schedule, slot, listener), what flies (flight, task, batch, payload, receipt), where reading stands (checkpoint, lease),
limits, what landed (jar, stream, honey, chunk, unindexed, quarantine, pollen, seen, section_keys, section_read), what
feeds others (event, inbox, consumer), who works (worker, queue), totals over all flights (tally, fault, taken_out),
secrets (vault_secret), what people did (audit), and who may look and act (account, session).

`task`, `batch`, `payload`, `receipt` and `event` are partitioned by the flight's day and dropped, never deleted;
`honey` and `chunk` are partitioned by `part` (0 to 15 are shared by ordinary jars, a snapshot jar has its own).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Sequence,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR

SCHEMA = "hive"
SHARED_PARTS = 16
DAILY = ("task", "batch", "payload", "receipt", "event")
"""Tables partitioned by day."""
DURATIONS = (1.0, 5.0, 30.0, 120.0, 600.0, 3600.0)
"""Seconds: the bounds of `tally.durations`."""

metadata = MetaData(schema=SCHEMA)
Instant = DateTime(timezone=True)
NOW = text("clock_timestamp()")

fence_seq = Sequence("fence", metadata=metadata)
task_seq = Sequence("task_id", metadata=metadata)
batch_seq = Sequence("batch_id", metadata=metadata)
inbox_seq = Sequence("inbox_number", metadata=metadata)

bee = Table(
    "bee",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("uid", Uuid, nullable=False, unique=True, server_default=text("gen_random_uuid()")),
    Column("name", Text, nullable=False, unique=True),
    Column("tenant", Text, nullable=False, server_default="default"),
    Column("connector", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("config", JSONB, nullable=False, comment="the native block; secrets only as references"),
    Column("config_version", BigInteger, nullable=False),
    # Or `gone`: its file names it no more, or it was unregistered.
    Column("origin", Text, nullable=False, comment="file or registered"),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column(
        "source", Text, nullable=False, server_default="", comment="whose source_slot rows bound it; empty: unbounded"
    ),
    Column("retry_at", Instant, comment="the source asked to come back at this time"),
    Column(
        "credential",
        Text,
        nullable=False,
        server_default="",
        comment="a print: bees of the same one share budgets and waits; empty: never opened",
    ),
    Column("endpoint", Text, nullable=False, server_default="", comment="the source it reads; see breaker"),
    Column("paused_at", Instant, comment="since when neither schedules nor events fly it; null: they do"),
    Column("last_error", JSONB, comment="class, code, place, advice; never a server's text"),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    Column("updated_at", Instant, nullable=False, server_default=NOW),
)

config_version = Table(
    "config_version",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("digest", Text, nullable=False),
    Column("body", JSONB, nullable=False),
    Column("created_at", Instant, nullable=False, server_default=NOW),
)

schedule = Table(
    "schedule",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("bee", Integer, ForeignKey("hive.bee.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("spec", JSONB, nullable=False),
    Column("next_slot", Instant, nullable=False),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column("missed", BigInteger, nullable=False, server_default="0"),
    Column("settled", Instant, comment="slots of a blackout up to here are written down; null: none yet"),
    UniqueConstraint("bee", "name"),
    Index("schedule_due", "next_slot", postgresql_where=text("enabled")),
)

slot = Table(
    "slot",
    metadata,
    Column("bee", Integer, nullable=False),
    Column("slot_key", Text, nullable=False, comment="schedule@instant, event:<id> or adhoc:<request>"),
    Column("flight", Uuid),
    Column("outcome", Text, nullable=False, comment="flown, or skipped:<why>: overlap, blackout, catch_up, paused"),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    PrimaryKeyConstraint("bee", "slot_key"),
    Index("slot_skipped", "created_at", postgresql_where=text("flight IS NULL")),
)

listener = Table(
    "listener",
    metadata,
    Column("bee", Integer, ForeignKey("hive.bee.id", ondelete="CASCADE"), nullable=False, comment="who flies"),
    Column("kind", Text, nullable=False, comment="after, jar, file or webhook"),
    Column("subject", Text, nullable=False, comment="name of the bee or jar, or the pattern of the files"),
    Column("event", BigInteger, comment="the newest event that no flight has answered; null: there is none"),
    Column("first_at", Instant, comment="when the first of those events was"),
    Column("last_at", Instant),
    Column("mark", BigInteger, comment="file: change time in ns of the newest file that was seen"),
    PrimaryKeyConstraint("bee", "kind", "subject"),
    Index("listener_of_subject", "kind", "subject"),
    Index("listener_waiting", "bee", postgresql_where=text("event IS NOT NULL")),
)

flight = Table(
    "flight",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("day", Date, nullable=False),
    Column("bee", Integer, nullable=False),
    Column("slot_key", Text, nullable=False),
    Column("mode", Text, nullable=False, comment="continuous or snapshot"),
    Column("full_refresh", Boolean, nullable=False, server_default=text("false")),
    Column("state", Text, nullable=False),
    Column("jar", Integer, nullable=False),
    Column("config_version", BigInteger, nullable=False),
    Column("data_key", LargeBinary, comment="wrapped by the hive key; destroyed at close"),
    Column("records_read", BigInteger, nullable=False, server_default="0"),
    Column("records_landed", BigInteger, nullable=False, server_default="0"),
    Column("records_unchanged", BigInteger, nullable=False, server_default="0"),
    Column("records_superseded", BigInteger, nullable=False, server_default="0"),
    Column("records_deleted", BigInteger, nullable=False, server_default="0"),
    Column("records_quarantined", BigInteger, nullable=False, server_default="0"),
    Column("bytes_read", BigInteger, nullable=False, server_default="0"),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    Column("error", JSONB, comment="class, code, place, advice"),
    Column(
        "scrubbed",
        JSONB,
        comment="the sums of its receipts: [{field, kind, action, count}]; null: nothing, or not closed yet",
    ),
    Index("flight_of_bee", "bee", "created_at"),
    Index("flight_of_day", "day"),
    Index("flight_open", "bee", postgresql_where=text("state IN ('queued', 'running')")),
    postgresql_with={"fillfactor": "70"},
)

task = Table(
    "task",
    metadata,
    Column("day", Date, nullable=False),
    Column("id", BigInteger, task_seq, nullable=False, server_default=task_seq.next_value()),
    Column("flight", Uuid, nullable=False),
    Column("bee", Integer, nullable=False),
    Column("kind", Text, nullable=False, comment="plan, collect or process"),
    Column("queue", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="queued", comment="queued, running, done, dead"),
    Column("priority", SmallInteger, nullable=False, server_default="1", comment="0 ad-hoc, 1 scheduled"),
    Column("attempt", SmallInteger, nullable=False, server_default="0"),
    Column("crashes", SmallInteger, nullable=False, server_default="0"),
    Column("fence", BigInteger),
    Column("owner", Text),
    Column("checkpoint", BigInteger),
    Column("batch", BigInteger),
    Column("row_from", Integer),
    Column("row_to", Integer),
    Column("parent", BigInteger, comment="the task that made this one: Celery's parent id"),
    Column("available_at", Instant, nullable=False, server_default=NOW),
    Column("hinted_at", Instant),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    Column("last_error", JSONB),
    PrimaryKeyConstraint("day", "id"),
    Index(
        "task_waiting",
        "queue",
        "priority",
        "bee",
        "id",
        postgresql_where=text("state = 'queued' AND hinted_at IS NULL"),
    ),
    Index("task_hinted", "queue", "hinted_at", postgresql_where=text("state = 'queued' AND hinted_at IS NOT NULL")),
    Index("task_running", "owner", postgresql_where=text("state = 'running'")),
    Index("task_of_flight", "flight"),
    postgresql_partition_by="RANGE (day)",
)

batch = Table(
    "batch",
    metadata,
    Column("day", Date, nullable=False),
    Column("id", BigInteger, batch_seq, nullable=False, server_default=batch_seq.next_value()),
    Column("flight", Uuid, nullable=False),
    Column("checkpoint", BigInteger, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("rows", Integer, nullable=False, comment="records and rejects"),
    Column("bytes", BigInteger, nullable=False, comment="uncompressed"),
    Column("open_parts", Integer, nullable=False, server_default="1"),
    Column("state", Text, nullable=False, server_default="sealed", comment="sealed, landed or dead"),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    PrimaryKeyConstraint("day", "id"),
    UniqueConstraint("day", "checkpoint", "seq"),
    Index("batch_pending", "flight", "bytes", postgresql_where=text("state = 'sealed'")),
    Index("batch_of_checkpoint", "checkpoint", "seq"),
    Index("batch_of_flight", "flight"),
    postgresql_partition_by="RANGE (day)",
)

payload = Table(
    "payload",
    metadata,
    Column("day", Date, nullable=False),
    Column("batch", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False, comment="sealed Arrow IPC"),
    PrimaryKeyConstraint("day", "batch"),
    postgresql_partition_by="RANGE (day)",
)

receipt = Table(
    "receipt",
    metadata,
    Column("day", Date, nullable=False),
    Column("checkpoint", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("row_from", Integer, nullable=False),
    Column("row_to", Integer, nullable=False),
    Column("flight", Uuid, nullable=False),
    Column("landed", Integer, nullable=False),
    Column("unchanged", Integer, nullable=False),
    Column("superseded", Integer, nullable=False),
    Column("deleted", Integer, nullable=False),
    Column("quarantined", Integer, nullable=False),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    Column(
        "scrubbed",
        JSONB,
        comment="what this landing took out of the records it wrote: [{field, kind, action, count}]; null: nothing",
    ),
    PrimaryKeyConstraint("day", "checkpoint", "seq", "row_from"),
    Index("receipt_of_flight", "flight"),
    postgresql_partition_by="RANGE (day)",
)

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("bee", Integer, nullable=False),
    Column("jar", Integer, nullable=False),
    Column("stream", Integer, nullable=False),
    Column("slice", Text, nullable=False, server_default=""),
    Column("fingerprint", Text, nullable=False, server_default=""),
    Column("epoch", Integer, nullable=False, server_default="1"),
    Column("sealed_cursor", LargeBinary, comment="sealed JSON"),
    Column("sealed_seq", BigInteger, nullable=False, server_default="0"),
    Column("landed_seq", BigInteger, nullable=False, server_default="0"),
    Column("needs_full_read", Boolean, nullable=False, server_default=text("false")),
    Column("scrub_version", BigInteger),
    Column("updated_at", Instant, nullable=False, server_default=NOW),
    Column("pass_from", BigInteger, comment="first seq of the reading that is not complete yet"),
    Column("whole_from", BigInteger, comment="first seq of the complete read that waits to be compared with the jar"),
    Column("whole_to", BigInteger, comment="its last seq; null: none waits"),
    Column(
        "held_deletes",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="records that the last complete read missed and that were too many to delete unasked",
    ),
    Column(
        "slices",
        Integer,
        nullable=False,
        server_default="0",
        comment="of a whole stream: parts in which it is read; 0: it is one",
    ),
    Column(
        "round",
        Integer,
        nullable=False,
        server_default="0",
        comment="number of the reading in parts; parts of an earlier one count no more",
    ),
    Column(
        "ended",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="of a part: it was read to its end in this round",
    ),
    Column(
        "replaces",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="a complete read takes the place of all that was there",
    ),
    UniqueConstraint("bee", "jar", "stream", "slice"),
    postgresql_with={"fillfactor": "70"},
)

lease = Table(
    "lease",
    metadata,
    Column("checkpoint", BigInteger, primary_key=True),
    Column("day", Date),
    Column("task", BigInteger, comment="null: free"),
    Column("fence", BigInteger, nullable=False, server_default="0"),
    Column("taken_at", Instant),
    postgresql_with={"fillfactor": "70"},
)

source_slot = Table(
    "source_slot",
    metadata,
    Column("source", Text, nullable=False),
    Column("n", Integer, nullable=False),
    Column("task", BigInteger, comment="null: free"),
    PrimaryKeyConstraint("source", "n"),
    postgresql_with={"fillfactor": "70"},
)

rate = Table(
    "rate",
    metadata,
    Column("credential", Text, primary_key=True, comment="a print of source and credential: whose requests count here"),
    Column("most", Integer, nullable=False, server_default="1", comment="requests ..."),
    Column("seconds", Double, nullable=False, server_default="1", comment="... in any so many seconds"),
    Column("ends", ARRAY(Double), nullable=False, server_default=text("'{}'"), comment="until when tokens count"),
    Column("counts", ARRAY(Integer), nullable=False, server_default=text("'{}'"), comment="how many do, for each"),
    postgresql_with={"fillfactor": "50"},
)

breaker = Table(
    "breaker",
    metadata,
    Column("endpoint", Text, primary_key=True, comment="the source, without credentials"),
    Column("state", Text, nullable=False, server_default="closed", comment="closed, open or half_open"),
    Column("failures", Integer, nullable=False, server_default="0", comment="in a row"),
    Column("probes", Integer, nullable=False, server_default="0"),
    Column("until", Instant, comment="the end of the cool-down, or of the probes"),
    Column("last_failure", Text, comment="the code of the error, never a server's text"),
    Column("failed_at", Instant),
    Column("changed_at", Instant, nullable=False, server_default=NOW),
    postgresql_with={"fillfactor": "50"},
)

jar = Table(
    "jar",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("tenant", Text, nullable=False, server_default="default"),
    Column("description", Text, nullable=False, server_default=""),
    Column("type", Text, nullable=False, server_default="private"),
    Column("status", Text, nullable=False, server_default="active"),
    Column("kind", Text, nullable=False, comment="continuous or snapshot"),
    Column("part", Integer, nullable=False),
    Column("visible", Boolean, nullable=False, server_default=text("true")),
    Column("owner", Text, nullable=False, server_default=""),
    Column("tags", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'")),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    Column("updated_at", Instant, nullable=False, server_default=NOW),
)

part_seq = Sequence("part", start=SHARED_PARTS, metadata=metadata)

stream = Table(
    "stream",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("jar", Integer, nullable=False),
    Column("bee", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("view", Text, comment="name of its typed view in the schema jars"),
    UniqueConstraint("jar", "bee", "name"),
)

pollen = Table(
    "pollen",
    metadata,
    Column("stream", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("columns", JSONB, nullable=False),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    PrimaryKeyConstraint("stream", "version"),
)

honey = Table(
    "honey",
    metadata,
    Column("part", Integer, nullable=False),
    Column("jar", Integer, nullable=False),
    Column("bee", Integer, nullable=False),
    Column("stream", Integer, nullable=False),
    Column("epoch", Integer, nullable=False, comment="pos is (epoch, seq, row): the higher one wins"),
    Column("seq", BigInteger, nullable=False),
    Column("row", Integer, nullable=False),
    Column(
        "written_seq",
        BigInteger,
        nullable=False,
        comment="the seq that last wrote the data: readers stop at landed_seq",
    ),
    Column("scrub_version", BigInteger, nullable=False),
    Column("collected_at", Instant, nullable=False),
    Column("deleted_at", Instant),
    Column("flight", Uuid, nullable=False),
    Column("key_hash", LargeBinary, nullable=False),
    Column("content_hash", LargeBinary, nullable=False),
    Column("record_key", Text, nullable=False, comment="the scrubbed key"),
    Column("data", JSONB),
    Column("marks", JSONB, comment="per field: what was removed (kinds and counts), what could not be held exactly"),
    PrimaryKeyConstraint("part", "jar", "bee", "stream", "key_hash"),
    postgresql_partition_by="LIST (part)",
)

chunk = Table(
    "chunk",
    metadata,
    Column("part", Integer, nullable=False),
    Column("jar", Integer, nullable=False),
    Column("bee", Integer, nullable=False),
    Column("stream", Integer, nullable=False),
    Column("key_hash", LargeBinary, nullable=False),
    Column("n", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("text_hash", LargeBinary, nullable=False),
    Column("text", Text, nullable=False),
    Column("words", TSVECTOR, nullable=False),
    PrimaryKeyConstraint("part", "jar", "bee", "stream", "key_hash", "n"),
    Index("chunk_words", "words", postgresql_using="gin"),
    postgresql_partition_by="LIST (part)",
)

unindexed = Table(
    "unindexed",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("part", Integer, nullable=False),
    Column("jar", Integer, nullable=False),
    Column("bee", Integer, nullable=False),
    Column("stream", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("fields", ARRAY(Text), nullable=False, comment="what of a record is text that people search"),
    Column("document", Boolean, nullable=False),
    Column("fresh", Boolean, nullable=False, comment="the jar held none of these records before"),
    Column("keys", ARRAY(LargeBinary), comment="of the records; null: those that this seq wrote"),
    Column("records", Integer, nullable=False),
    Column("landed_at", Instant, nullable=False, server_default=NOW),
    Index("unindexed_of_jar", "jar"),
    comment="landings whose records are not in the full-text index yet",
    postgresql_with={"fillfactor": "70"},
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("jar", Integer, nullable=False),
    Column("bee", Integer, nullable=False),
    Column("stream", Integer, nullable=False),
    Column("flight", Uuid, nullable=False),
    Column("checkpoint", BigInteger, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("row", Integer, nullable=False),
    Column("records", Integer, nullable=False, server_default="1", comment="more than one: a whole part of a batch"),
    Column("key_hash", LargeBinary),
    Column("code", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("place", Text, nullable=False, server_default=""),
    Column("body", LargeBinary, nullable=False, comment="sealed"),
    Column("key_id", Text, nullable=False, comment="which key sealed the body"),
    Column("state", Text, nullable=False, server_default="open", comment="open, retried or dropped"),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    Index("quarantine_of_key", "stream", "key_hash", postgresql_where=text("state = 'open'")),
    Index("quarantine_of_flight", "flight"),
    Index("quarantine_of_batch", "checkpoint", "epoch", "seq", postgresql_where=text("key_hash IS NULL")),
)

seen = Table(
    "seen",
    metadata,
    Column("checkpoint", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("row_from", Integer, nullable=False),
    Column("keys", ARRAY(LargeBinary), nullable=False),
    Column("seen_at", Instant, nullable=False, server_default=NOW),
    PrimaryKeyConstraint("checkpoint", "seq", "row_from"),
    comment="keys that a read of a whole stream has met, until it is complete",
)

section_keys = Table(
    "section_keys",
    metadata,
    Column("checkpoint", BigInteger, nullable=False),
    Column("section", LargeBinary, nullable=False, comment="keyed hash of its name"),
    Column("epoch", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("row_from", Integer, nullable=False),
    Column("keys", ARRAY(LargeBinary), nullable=False),
    Column("partial", Boolean, nullable=False, comment="a record of it was set aside that has no key"),
    PrimaryKeyConstraint("checkpoint", "section", "epoch", "seq", "row_from"),
    comment="keys that a section of a stream, such as a file, gave, by landing",
)

section_read = Table(
    "section_read",
    metadata,
    Column("checkpoint", BigInteger, nullable=False),
    Column("section", LargeBinary, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("from_seq", BigInteger, nullable=False, comment="seq of the batch with its first rows"),
    Column("to_seq", BigInteger, comment="seq of the batch with its last rows; null: it was not read to its end"),
    Column("own", Boolean, nullable=False, comment="no other section can hold its records"),
    PrimaryKeyConstraint("checkpoint", "section"),
    comment="the newest reading of a section, until what it missed is deleted",
)

event = Table(
    "event",
    metadata,
    Column("day", Date, nullable=False),
    Column("id", BigInteger, task_seq, nullable=False, server_default=task_seq.next_value()),
    Column("kind", Text, nullable=False),
    Column("bee", Integer),
    Column("flight", Uuid),
    Column("body", JSONB, nullable=False, server_default=text("'{}'")),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    Column("handled_at", Instant, comment="when the listeners were told"),
    PrimaryKeyConstraint("day", "id"),
    Index("event_waiting", "id", postgresql_where=text("handled_at IS NULL")),
    Index("event_refused", "id", postgresql_where=text("kind = 'config_refused'")),
    postgresql_partition_by="RANGE (day)",
)

inbox = Table(
    "inbox",
    metadata,
    Column("bee", Integer, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("body", LargeBinary, nullable=False, comment="sealed"),
    Column("received_at", Instant, nullable=False, server_default=NOW),
    Column(
        "slot_key", Text, comment="the slot that answered it, or `sealed` where a bee took its body; null: it waits"
    ),
    Column(
        "number",
        BigInteger,
        inbox_seq,
        nullable=False,
        server_default=inbox_seq.next_value(),
        comment="about the order of arrival; a message that comes again under its id is another number",
    ),
    PrimaryKeyConstraint("bee", "event_id"),
    Index("inbox_waiting", "bee", "number", postgresql_where=text("slot_key IS NULL")),
)

consumer = Table(
    "consumer",
    metadata,
    Column("name", Text, nullable=False),
    Column("checkpoint", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("name", "checkpoint"),
)

worker = Table(
    "worker",
    metadata,
    Column("id", Text, primary_key=True, comment="host:pid:start"),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("queues", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("started_at", Instant, nullable=False, server_default=NOW),
    Column("beat_at", Instant, nullable=False, server_default=NOW),
    Column("alive_until", Instant, nullable=False),
    Column("rss", BigInteger, nullable=False, server_default="0"),
    Column("pools", JSONB, comment="connections to sources by connector: {name: [size, idle, active]}; null: none"),
    postgresql_with={"fillfactor": "50"},
)

queue = Table(
    "queue",
    metadata,
    Column("name", Text, primary_key=True),
    Column(
        "turn",
        Integer,
        nullable=False,
        server_default="0",
        comment="the bee that was hinted last: the next one is after it",
    ),
    postgresql_with={"fillfactor": "50"},
)

tally = Table(
    "tally",
    metadata,
    Column("bee", Integer, primary_key=True, autoincrement=False),
    Column("bee_type", Text, nullable=False, comment="of its last flight: api, database, ..."),
    Column("complete", BigInteger, nullable=False, server_default="0"),
    Column("failed", BigInteger, nullable=False, server_default="0"),
    Column("cancelled", BigInteger, nullable=False, server_default="0"),
    Column("records_read", BigInteger, nullable=False, server_default="0"),
    Column("records_landed", BigInteger, nullable=False, server_default="0"),
    Column("records_unchanged", BigInteger, nullable=False, server_default="0"),
    Column("records_superseded", BigInteger, nullable=False, server_default="0"),
    Column("records_deleted", BigInteger, nullable=False, server_default="0"),
    Column("records_quarantined", BigInteger, nullable=False, server_default="0"),
    Column("bytes_read", BigInteger, nullable=False, server_default="0"),
    Column(
        "organizations",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="those of the landed records that came from a stream of organizations",
    ),
    Column("retries", BigInteger, nullable=False, server_default="0", comment="attempts of its tasks after the first"),
    Column("seconds", Double, nullable=False, server_default="0"),
    Column(
        "durations",
        ARRAY(BigInteger),
        nullable=False,
        comment="flights that lasted at most so long, for each of DURATIONS",
    ),
    Column("last_state", Text, nullable=False),
    Column("last_seconds", Double, nullable=False),
    Column("last_at", Instant, nullable=False, comment="when its last flight ended"),
    Column("success_at", Instant, comment="when its last complete flight ended"),
    Column("current_at", Instant, comment="when it began: what the source held by then is in the jar"),
    postgresql_with={"fillfactor": "50"},
)

fault = Table(
    "fault",
    metadata,
    Column("bee", Integer, nullable=False),
    Column("code", Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    PrimaryKeyConstraint("bee", "code"),
    comment="flights that failed, by the code of their error",
    postgresql_with={"fillfactor": "50"},
)

taken_out = Table(
    "taken_out",
    metadata,
    Column("bee", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    PrimaryKeyConstraint("bee", "kind", "action"),
    comment="what scrubbing took out: kinds and counts, never values",
    postgresql_with={"fillfactor": "50"},
)

vault_secret = Table(
    "vault_secret",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_at", Instant, nullable=False, server_default=text("now()")),
    PrimaryKeyConstraint("tenant", "path", "version"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("at", Instant, nullable=False, server_default=NOW),
    Column(
        "who", Text, nullable=False, comment="an account of the pages, or user of the operating system and the machine"
    ),
    Column(
        "action",
        Text,
        nullable=False,
        comment="detokenize, rotate, login, fly, pause, ...; and the same with :refused",
    ),
    Column("tenant", Text, nullable=False),
    Column(
        "body",
        JSONB,
        nullable=False,
        server_default=text("'{}'"),
        comment="kinds, key ids, counts and the reason given; never a value",
    ),
)

account = Table(
    "account",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False, comment="viewer or operator"),
    Column("password", Text, nullable=False, comment="a salted scrypt hash"),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    Column("seen_at", Instant, comment="when it last logged in"),
)

session = Table(
    "session",
    metadata,
    Column("id", LargeBinary, primary_key=True, comment="hash of the token that the browser holds"),
    Column("account", Text, nullable=False),
    Column("mark", LargeBinary, nullable=False, comment="of token and password: another password ends the session"),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    Column("expires_at", Instant, nullable=False),
    Index("session_ends", "expires_at"),
)
