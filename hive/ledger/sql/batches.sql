-- checkpoint_state --
SELECT id, fingerprint, epoch, sealed_cursor, sealed_seq, landed_seq, stream FROM hive.checkpoint WHERE id = %(checkpoint)s;

-- new_epoch --
-- Another source, query, key or cursor column: what was read until now says nothing about what comes.
UPDATE hive.checkpoint
   SET fingerprint = %(fingerprint)s, epoch = epoch + %(step)s, sealed_cursor = NULL, updated_at = clock_timestamp()
 WHERE id = %(checkpoint)s
RETURNING epoch;

-- rewind --
UPDATE hive.checkpoint SET sealed_cursor = NULL, updated_at = clock_timestamp() WHERE id = %(checkpoint)s;

-- seal_batch --
INSERT INTO hive.batch (day, flight, checkpoint, epoch, seq, rows, bytes)
VALUES (%(day)s, %(flight)s, %(checkpoint)s, %(epoch)s, %(seq)s, %(rows)s, %(bytes)s)
RETURNING id;

-- keep_payload --
INSERT INTO hive.payload (day, batch, body) VALUES (%(day)s, %(batch)s, %(body)s);

-- move_sealed_cursor --
-- The reader counts its batches itself; a row that is not returned means that another one sealed this seq.
UPDATE hive.checkpoint SET sealed_cursor = %(cursor)s, sealed_seq = %(seq)s, updated_at = clock_timestamp()
 WHERE id = %(checkpoint)s AND epoch = %(epoch)s AND sealed_seq = %(seq)s - 1
RETURNING id;

-- move_cursor --
-- The source moved on without a record, as a listing without changes does.
UPDATE hive.checkpoint SET sealed_cursor = %(cursor)s, updated_at = clock_timestamp() WHERE id = %(checkpoint)s;

-- pending_bytes --
SELECT coalesce(sum(bytes) FILTER (WHERE flight = %(flight)s), 0)::bigint AS of_flight, coalesce(sum(bytes), 0)::bigint AS of_all
  FROM hive.batch WHERE state = 'sealed';

-- load_batch --
SELECT b.seq, b.epoch, b.rows, b.checkpoint, c.stream, c.landed_seq, p.body
  FROM hive.batch b JOIN hive.checkpoint c ON c.id = b.checkpoint
  LEFT JOIN hive.payload p ON p.day = b.day AND p.batch = b.id
 WHERE b.day = %(day)s AND b.id = %(batch)s;

-- give_receipt --
-- The evidence that this range landed. Its key refuses a second one.
INSERT INTO hive.receipt (day, checkpoint, seq, row_from, row_to, flight, landed, unchanged, superseded, deleted, quarantined)
VALUES (%(day)s, %(checkpoint)s, %(seq)s, %(row_from)s, %(row_to)s, %(flight)s, %(landed)s, %(unchanged)s, %(superseded)s,
        %(deleted)s, %(quarantined)s);

-- has_receipt --
SELECT EXISTS (SELECT FROM hive.receipt
                WHERE day = %(day)s AND checkpoint = %(checkpoint)s AND seq = %(seq)s AND row_from = %(row_from)s) AS found;

-- part_landed --
UPDATE hive.batch
   SET open_parts = open_parts - 1,
       state = CASE WHEN %(dead)s OR state = 'dead' THEN 'dead' WHEN open_parts > 1 THEN state ELSE 'landed' END
 WHERE day = %(day)s AND id = %(batch)s
RETURNING open_parts;

-- split_batch --
UPDATE hive.batch SET open_parts = open_parts + 1 WHERE day = %(day)s AND id = %(batch)s;

-- drop_payload --
DELETE FROM hive.payload WHERE day = %(day)s AND batch = %(batch)s;

-- lock_checkpoint --
SELECT landed_seq, sealed_seq FROM hive.checkpoint WHERE id = %(checkpoint)s FOR UPDATE;

-- move_watermark --
-- landed_seq is the end of the unbroken row of landed batches. A batch that is missing, for whatever reason, holds it.
UPDATE hive.checkpoint SET landed_seq = coalesce((
    SELECT max(seq) FROM (
        SELECT seq, seq - row_number() OVER (ORDER BY seq) AS island FROM hive.batch
         WHERE checkpoint = %(checkpoint)s AND seq > %(landed_seq)s AND state <> 'sealed' AND open_parts = 0
    ) done WHERE island = %(landed_seq)s), landed_seq)
 WHERE id = %(checkpoint)s
RETURNING landed_seq;

-- register_stream --
-- Finds or makes a stream, its checkpoint and its lease in one step.
WITH found AS (
    INSERT INTO hive.stream (jar, bee, name) VALUES (%(jar)s, %(bee)s, %(stream)s)
    ON CONFLICT (jar, bee, name) DO UPDATE SET name = excluded.name
    RETURNING id
), point AS (
    INSERT INTO hive.checkpoint (bee, jar, stream, slice) SELECT %(bee)s, %(jar)s, id, '' FROM found
    ON CONFLICT (bee, jar, stream, slice) DO UPDATE SET slice = excluded.slice
    RETURNING id, stream
), free AS (
    INSERT INTO hive.lease (checkpoint) SELECT id FROM point ON CONFLICT DO NOTHING
)
SELECT id AS checkpoint, stream FROM point;
