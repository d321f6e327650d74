-- checkpoint_state --
SELECT c.id AS checkpoint, c.fingerprint, c.epoch, c.sealed_cursor, c.sealed_seq, c.stream, s.name, c.slice, c.slices, c.ended,
       c.pass_from IS NOT NULL AS midway
  FROM hive.checkpoint c JOIN hive.stream s ON s.id = c.stream WHERE c.id = %(checkpoint)s;

-- new_epoch --
-- Another source, query, key or cursor column: what was read until now says nothing about what comes.
UPDATE hive.checkpoint
   SET fingerprint = %(fingerprint)s, epoch = epoch + %(step)s, sealed_cursor = NULL, updated_at = clock_timestamp(),
       pass_from = NULL, whole_from = NULL, whole_to = NULL, replaces = %(replaces)s
 WHERE id = %(checkpoint)s
RETURNING epoch;

-- seal --
-- The fence first: the task is still this worker's, and so is the stream. Then the cursor after the batch, the batch, its
-- payload and its task, or nothing of them; without rows the source only moved on, as a listing without changes does.
-- The reader counts its batches itself: nothing is `moved` when another one sealed this seq or reading began anew.
-- With its `last` batch the reading task ends and frees what it held; a leg that goes on is no poison, and its attempts
-- start anew. One statement, because a flight of few records is mostly round trips. `told`: the source hears of it, so its
-- commit waits for the disk; see `claim` for the others.
WITH held AS (
    SELECT t.id FROM hive.task_{day} t JOIN hive.lease l ON l.checkpoint = t.checkpoint AND l.task = t.id AND l.fence = t.fence
     WHERE t.day = %(day)s AND t.id = %(id)s AND t.fence = %(fence)s AND t.owner = %(owner)s AND t.state = 'running'
       AND t.checkpoint = %(checkpoint)s
       FOR UPDATE OF t, l
), moved AS (
    UPDATE hive.checkpoint c
       SET sealed_cursor = %(cursor)s, sealed_seq = %(seq)s, updated_at = clock_timestamp(), ended = %(last)s,
           -- A read begins with the first batch after the source's last end (`since`), or where the source says so
           -- (`anew`). Below zero: what it met is not known, or none has begun.
           pass_from = CASE WHEN %(over)s OR %(whole)s THEN NULL ELSE coalesce(%(anew)s, c.pass_from, %(since)s) END,
           whole_from = CASE WHEN %(whole)s AND coalesce(%(anew)s, c.pass_from, %(since)s) >= 0
                             THEN coalesce(%(anew)s, c.pass_from, %(since)s) ELSE c.whole_from END,
           whole_to = CASE WHEN %(whole)s AND coalesce(%(anew)s, c.pass_from, %(since)s) >= 0 THEN %(seq)s
                           ELSE c.whole_to END
      FROM held WHERE c.id = %(checkpoint)s AND c.epoch = %(epoch)s AND c.sealed_seq = %(before)s
    RETURNING c.id, c.stream, c.whole_to, c.pass_from
), unseen AS (
    -- A read that ended and is not complete says nothing of what it did not meet.
    DELETE FROM hive.seen s USING moved
     WHERE %(last)s AND NOT %(whole)s AND s.checkpoint = moved.id AND moved.whole_to IS NULL
       AND coalesce(moved.pass_from, -1) < 0
), begun AS (
    -- Sections of the stream that are read from their beginning with this batch (`first`: or with the next, where this
    -- one has no rows), some of them to their end (`whole_sections`).
    INSERT INTO hive.section_read (checkpoint, section, epoch, from_seq, own, to_seq)
    SELECT moved.id, decode(n.section, 'hex'), %(epoch)s, %(first)s, %(own)s, CASE WHEN n.whole THEN %(seq)s::bigint END
      FROM moved, unnest(%(begun)s::text[], %(whole_sections)s::bool[]) AS n(section, whole)
        ON CONFLICT (checkpoint, section) DO UPDATE
       SET epoch = excluded.epoch, from_seq = excluded.from_seq, own = excluded.own, to_seq = excluded.to_seq
), ended AS (
    -- Others that end with it.
    UPDATE hive.section_read r SET to_seq = %(seq)s
      FROM moved WHERE r.checkpoint = moved.id AND r.epoch = %(epoch)s
       AND r.section = ANY (SELECT decode(s, 'hex') FROM unnest(%(ended)s::text[]) s)
), settled AS (
    -- What quarantine holds of files as a whole that were read to their end now.
    UPDATE hive.quarantine q SET state = 'dropped', body = ''
      FROM moved WHERE q.stream = moved.stream AND q.state = 'open' AND (q.epoch, q.seq) < (%(epoch)s, %(seq)s)
       AND q.key_hash = ANY (SELECT decode(k, 'hex') FROM unnest(%(files)s::text[]) k)
), sealed AS (
    INSERT INTO hive.batch_{day} (day, flight, checkpoint, epoch, seq, rows, bytes)
    SELECT %(day)s, %(flight)s, id, %(epoch)s, %(seq)s, %(rows)s, %(bytes)s FROM moved WHERE %(rows)s > 0
    RETURNING id
), kept AS (
    INSERT INTO hive.payload_{day} (day, batch, body) SELECT %(day)s, id, %(body)s FROM sealed
), next AS (
    INSERT INTO hive.task_{day} (day, flight, bee, kind, queue, priority, checkpoint, batch, row_from, row_to, parent, hinted_at)
    SELECT %(day)s, %(flight)s, %(bee)s, 'process', %(next_queue)s, %(priority)s, %(checkpoint)s, id, 0, %(rows)s, %(id)s,
           -- One bee takes a quarter of the room: whoever comes later waits behind few of its tasks.
           CASE WHEN (SELECT count(*) < %(room)s AND count(*) FILTER (WHERE bee = %(bee)s) < (%(room)s + 3) / 4
                        FROM hive.task_{day}
                       WHERE queue = %(next_queue)s AND state = 'queued' AND hinted_at IS NOT NULL)
                THEN clock_timestamp() END
      FROM sealed
    RETURNING id, hinted_at IS NOT NULL AS hinted
), lease AS (
    UPDATE hive.lease l SET task = NULL FROM moved WHERE l.checkpoint = moved.id AND l.task = %(id)s AND %(last)s
), slot AS (
    UPDATE hive.source_slot s SET task = NULL FROM moved WHERE s.source = %(source)s AND s.task = %(id)s AND %(last)s
), told AS (
    UPDATE hive.task_{day} t
       SET state = CASE WHEN %(last)s THEN 'done' ELSE t.state END,
           finished_at = CASE WHEN %(last)s THEN clock_timestamp() END,
           last_error = CASE WHEN %(last)s THEN NULL ELSE t.last_error END,
           attempt = CASE WHEN %(last)s THEN t.attempt ELSE 1 END,
           crashes = CASE WHEN %(last)s THEN t.crashes ELSE 0 END
      FROM moved
     WHERE t.day = %(day)s AND t.id = %(id)s AND (%(last)s OR t.attempt > 1 OR t.crashes > 0)
)
SELECT EXISTS (SELECT FROM held) AS held, EXISTS (SELECT FROM moved) AS moved,
       (SELECT enabled FROM hive.bee WHERE id = %(bee)s) AS enabled,
       CASE WHEN NOT %(told)s THEN set_config('synchronous_commit', 'off', true) END AS commit,
       (SELECT id FROM next) AS next, (SELECT hinted FROM next) AS hinted,
       %(last)s AND (SELECT count(*) FROM hive.task_{day} h
                      WHERE h.queue = %(queue)s AND h.state = 'queued' AND h.hinted_at IS NOT NULL) <= %(few)s
                AND EXISTS (SELECT FROM hive.task_{day} w
                             WHERE w.queue = %(queue)s AND w.state = 'queued' AND w.hinted_at IS NULL
                               AND w.available_at <= clock_timestamp()) AS waiting;

-- sealed_bytes --
SELECT coalesce(sum(bytes), 0)::bigint AS bytes FROM hive.batch WHERE state = 'sealed';

-- pending_bytes --
SELECT coalesce(sum(bytes) FILTER (WHERE flight = %(flight)s), 0)::bigint AS of_flight, coalesce(sum(bytes), 0)::bigint AS of_all
  FROM hive.batch WHERE state = 'sealed';

-- load_batch --
-- Those of few bytes come with their claim, which has the same columns. `uncompared`: a complete read before this batch
-- has not been compared with the jar yet. `of_whole`: one has begun or waits for it, so what the batch holds is to be
-- written down.
SELECT b.seq, b.epoch, b.rows, b.checkpoint, c.stream, c.landed_seq, p.body,
       coalesce(c.whole_to < b.seq, false) AS uncompared,
       coalesce(c.pass_from >= 0, false) OR c.whole_to IS NOT NULL AS of_whole
  FROM hive.batch_{day} b JOIN hive.checkpoint c ON c.id = b.checkpoint
  LEFT JOIN hive.payload_{day} p ON p.day = b.day AND p.batch = b.id
 WHERE b.day = %(day)s AND b.id = %(batch)s;

-- complete_part --
-- The receipt is the evidence that this range landed: its key refuses a second one. The payload goes with the last part
-- of its batch. Then the task ends and what it held is free; a dead one was ended before, as dead. Last the watermark, in
-- the usual case: the newest batch of the stream landed, and everything before it had (`level`). `behind`: it is another.
-- `entries`: quarantine has open ones of the stream that name their record.
WITH receipt AS (
    INSERT INTO hive.receipt_{day} (day, checkpoint, seq, row_from, row_to, flight, landed, unchanged, superseded, deleted,
                                    quarantined, scrubbed)
    VALUES (%(day)s, %(checkpoint)s, %(seq)s, %(row_from)s, %(row_to)s, %(flight)s, %(landed)s, %(unchanged)s,
            %(superseded)s, %(deleted)s, %(quarantined)s, %(scrubbed)s::jsonb)
), part AS (
    UPDATE hive.batch_{day}
       SET open_parts = open_parts - 1,
           state = CASE WHEN %(dead)s OR state = 'dead' THEN 'dead' WHEN open_parts > 1 THEN state ELSE 'landed' END
     WHERE day = %(day)s AND id = %(batch)s
    RETURNING open_parts
), gone AS (
    DELETE FROM hive.payload_{day} WHERE day = %(day)s AND batch = %(batch)s AND (SELECT open_parts FROM part) = 0
), ended AS (
    UPDATE hive.task_{day} SET state = 'done', finished_at = clock_timestamp(), last_error = NULL
     WHERE day = %(day)s AND id = %(id)s AND NOT %(dead)s
), raised AS (
    UPDATE hive.checkpoint SET landed_seq = %(seq)s
     WHERE id = %(checkpoint)s AND landed_seq = %(seq)s - 1 AND sealed_seq = %(seq)s AND (SELECT open_parts FROM part) = 0
    RETURNING landed_seq
)
SELECT open_parts, EXISTS (SELECT FROM raised) AS level, open_parts = 0 AND NOT EXISTS (SELECT FROM raised) AS behind,
       EXISTS (SELECT FROM hive.quarantine
                WHERE stream = %(stream)s AND state = 'open' AND key_hash IS NOT NULL) AS entries,
       (SELECT count(*) FROM hive.task_{day} h
         WHERE h.queue = %(queue)s AND h.state = 'queued' AND h.hinted_at IS NOT NULL) <= %(few)s
       AND EXISTS (SELECT FROM hive.task_{day} w
                    WHERE w.queue = %(queue)s AND w.state = 'queued' AND w.hinted_at IS NULL
                      AND w.available_at <= clock_timestamp()) AS waiting
  FROM part;

-- see --
-- With the landing of a batch, the keys that it held, where a reading of everything has begun or waits to be compared.
INSERT INTO hive.seen (checkpoint, seq, row_from, keys)
SELECT %(checkpoint)s, %(seq)s, %(row_from)s, %(keys)s
 WHERE EXISTS (SELECT FROM hive.checkpoint WHERE id = %(checkpoint)s AND (pass_from >= 0 OR whole_to IS NOT NULL));

-- lock_whole --
-- Complete reads whose every batch has landed, of the bee and jar of a flight. One in parts is complete when all of them
-- are: the seqs of its round are above those of every earlier one, so they are one range.
WITH mine AS (
    SELECT c.* FROM hive.flight f JOIN hive.checkpoint p ON p.bee = f.bee AND p.jar = f.jar AND p.slice = ''
      JOIN hive.checkpoint c ON c.bee = p.bee AND c.jar = p.jar AND c.stream = p.stream
       AND CASE WHEN p.slices = 0 THEN c.id = p.id ELSE c.slice <> '' AND c.round = p.round END
     WHERE f.id = %(flight)s AND (%(checkpoint)s::bigint IS NULL OR p.id = %(checkpoint)s)
       AND EXISTS (SELECT FROM hive.checkpoint w
                    WHERE w.bee = p.bee AND w.jar = p.jar AND w.stream = p.stream AND w.landed_seq >= w.whole_to)
     ORDER BY c.id FOR UPDATE OF c
), whole AS (
    SELECT min(id) AS checkpoint, array_agg(id) AS checkpoints, bee, jar, stream, max(epoch) AS epoch,
           min(whole_from) AS whole_from, max(whole_to) AS whole_to, bool_or(replaces) AS replaces
      FROM mine GROUP BY bee, jar, stream HAVING bool_and(coalesce(landed_seq >= whole_to, false))
)
SELECT w.*, j.part, b.name AS bee_name, s.name AS stream_name,
       coalesce((b.config #>> '{limits,max_deleted}')::float8, %(most)s) AS most,
       set_config('work_mem', '64MB', true) AS room
  FROM whole w JOIN hive.jar j ON j.id = w.jar JOIN hive.bee b ON b.id = w.bee JOIN hive.stream s ON s.id = w.stream;

-- is_partial --
-- A batch that was set aside whole, or a record whose key nobody could read: the source may hold what was not seen.
-- `lost`: of a whole batch nobody knows what it held.
WITH bad AS (
    SELECT EXISTS (SELECT FROM hive.batch WHERE checkpoint = ANY (%(checkpoints)s) AND seq BETWEEN %(low)s AND %(high)s AND state = 'dead')
        OR EXISTS (SELECT FROM hive.quarantine WHERE checkpoint = ANY (%(checkpoints)s) AND seq BETWEEN %(low)s AND %(high)s
                      AND (records > 1 OR code IN ('killed_worker', 'dead_batch'))) AS lost
)
SELECT lost OR EXISTS (SELECT FROM hive.quarantine WHERE checkpoint = ANY (%(checkpoints)s) AND seq BETWEEN %(low)s AND %(high)s
                          AND key_hash IS NULL) AS partial, lost
  FROM bad;

-- settle_keyless --
-- What a complete read set aside without a key takes the place of what earlier ones did: nobody can tell which is which.
UPDATE hive.quarantine SET state = 'dropped', body = ''
 WHERE stream = %(stream)s AND state = 'open' AND key_hash IS NULL AND records = 1
   AND code NOT IN ('killed_worker', 'dead_batch') AND (epoch, seq) < (%(epoch)s, %(low)s);

-- count_met --
SELECT coalesce(sum(cardinality(keys)), 0)::bigint AS met FROM hive.seen
 WHERE checkpoint = ANY (%(checkpoints)s) AND seq BETWEEN %(low)s AND %(high)s;

-- end_whole --
-- Compared, or not to be compared: what was seen is forgotten.
WITH ended AS (
    UPDATE hive.checkpoint
       SET whole_from = NULL, whole_to = NULL, held_deletes = CASE WHEN id = %(checkpoint)s THEN %(held)s ELSE 0 END
     WHERE id = ANY (%(checkpoints)s)
)
DELETE FROM hive.seen WHERE checkpoint = ANY (%(checkpoints)s) AND seq <= %(high)s;

-- end_pass --
-- A read ended that is not complete.
WITH ended AS (
    UPDATE hive.checkpoint SET pass_from = NULL WHERE id = %(checkpoint)s AND pass_from IS NOT NULL AND whole_to IS NULL RETURNING id
)
DELETE FROM hive.seen s USING ended WHERE s.checkpoint = ended.id;

-- forget_seen --
-- Of reads that nobody goes on with. Should one do so after all, its end is not the end of a complete read.
WITH idle AS (
    DELETE FROM hive.seen s WHERE seen_at < clock_timestamp() - make_interval(days => 2)
       AND NOT EXISTS (SELECT FROM hive.checkpoint c WHERE c.id = s.checkpoint AND c.whole_to IS NOT NULL)
    RETURNING checkpoint
)
UPDATE hive.checkpoint SET pass_from = -1 WHERE id IN (SELECT checkpoint FROM idle) AND pass_from IS NOT NULL;

-- deletes_receipt --
-- What a complete read missed, as a landing of no rows: the place before the first one.
INSERT INTO hive.receipt_{day} (day, checkpoint, seq, row_from, row_to, flight, landed, unchanged, superseded, deleted, quarantined)
SELECT %(day)s, %(checkpoint)s, %(seq)s, p.place, p.place, %(flight)s, 0, 0, 0, %(deleted)s, 0
  FROM (SELECT coalesce(min(row_from), 0) - 1 AS place FROM hive.receipt_{day}
         WHERE checkpoint = %(checkpoint)s AND seq = %(seq)s AND row_from < 0) p;

-- hopeless --
-- Very many parts of a batch were tried, and nothing of it landed: that is not one record's fault.
SELECT (SELECT count(*) FROM hive.task_{day} WHERE flight = b.flight AND batch = b.id) > %(parts)s
   AND NOT EXISTS (SELECT FROM hive.receipt_{day} r WHERE r.checkpoint = b.checkpoint AND r.seq = b.seq
                      AND r.quarantined < r.row_to - r.row_from) AS hopeless
  FROM hive.batch_{day} b WHERE b.day = %(day)s AND b.id = %(batch)s;

-- split_batch --
UPDATE hive.batch_{day} SET open_parts = open_parts + 1 WHERE day = %(day)s AND id = %(batch)s;

-- lock_checkpoint --
SELECT landed_seq FROM hive.checkpoint WHERE id = %(checkpoint)s FOR UPDATE;

-- move_watermark --
-- landed_seq is the end of the unbroken row of landed batches. A batch that is missing, for whatever reason, holds it.
UPDATE hive.checkpoint SET landed_seq = coalesce((
    SELECT max(seq) FROM (
        SELECT seq, seq - row_number() OVER (ORDER BY seq) AS island FROM hive.batch
         WHERE checkpoint = %(checkpoint)s AND seq > %(landed_seq)s AND state <> 'sealed' AND open_parts = 0
    ) done WHERE island = %(landed_seq)s), landed_seq)
 WHERE id = %(checkpoint)s
RETURNING landed_seq;

-- find_stream --
SELECT c.id AS checkpoint, c.stream, c.fingerprint, c.epoch, c.sealed_cursor, c.sealed_seq, c.slice, c.slices, c.ended,
       c.pass_from IS NOT NULL AS midway
  FROM hive.stream s JOIN hive.checkpoint c ON c.stream = s.id AND c.slice = ''
 WHERE s.jar = %(jar)s AND s.bee = %(bee)s AND s.name = %(stream)s;

-- adopt_stream --
-- `find_stream` and `adopt` in one step, where the stream is read on as it stands and nothing has to be written first.
-- `begun`: only if a reading of it has begun.
WITH found AS MATERIALIZED (
    SELECT c.id AS checkpoint, c.stream, c.fingerprint, c.epoch, c.sealed_cursor, c.sealed_seq, c.slice, c.slices, c.ended,
           c.pass_from IS NOT NULL AS midway
      FROM hive.stream s JOIN hive.checkpoint c ON c.stream = s.id AND c.slice = ''
     WHERE s.jar = %(jar)s AND s.bee = %(bee)s AND s.name = %(stream)s AND c.slices = 0
       AND c.fingerprint = %(fingerprint)s AND (c.sealed_cursor IS NOT NULL OR NOT %(begun)s)
), mine AS (
    UPDATE hive.task_{day} t SET kind = 'collect', checkpoint = found.checkpoint
      FROM found
     WHERE t.day = %(day)s AND t.id = %(id)s AND t.fence = %(fence)s AND t.owner = %(owner)s AND t.state = 'running'
    RETURNING t.id
), leased AS (
    UPDATE hive.lease l SET day = %(day)s, task = mine.id, fence = %(fence)s, taken_at = clock_timestamp()
      FROM mine
     WHERE l.checkpoint = (SELECT checkpoint FROM hive.lease
                            WHERE checkpoint = (SELECT checkpoint FROM found) AND (task IS NULL OR task = %(id)s)
                              FOR UPDATE SKIP LOCKED)
    RETURNING l.checkpoint
)
SELECT found.*, EXISTS (SELECT FROM mine) AS held, EXISTS (SELECT FROM leased) AS leased,
       set_config('synchronous_commit', 'off', true) AS commit
  FROM found;

-- register_stream --
-- Finds or makes a stream, its checkpoint and its lease in one step.
WITH found AS (
    INSERT INTO hive.stream (jar, bee, name) VALUES (%(jar)s, %(bee)s, %(stream)s)
    ON CONFLICT (jar, bee, name) DO UPDATE SET name = excluded.name
    RETURNING id
), point AS (
    INSERT INTO hive.checkpoint (bee, jar, stream, slice) SELECT %(bee)s, %(jar)s, id, '' FROM found
    ON CONFLICT (bee, jar, stream, slice) DO UPDATE SET slice = excluded.slice
    RETURNING id, stream, fingerprint, epoch, sealed_cursor, sealed_seq, slice, slices, ended, pass_from IS NOT NULL AS midway
), free AS (
    INSERT INTO hive.lease (checkpoint) SELECT id FROM point ON CONFLICT DO NOTHING
)
SELECT id AS checkpoint, stream, fingerprint, epoch, sealed_cursor, sealed_seq, slice, slices, ended, midway FROM point;

-- begin_pass --
-- All of it is read from its beginning, whatever of it was read before.
UPDATE hive.checkpoint SET sealed_cursor = NULL, pass_from = NULL WHERE id = %(checkpoint)s;

-- streams_begun --
-- Of one bee: the streams of which something was read, and what that belongs to.
SELECT s.name, c.fingerprint FROM hive.stream s JOIN hive.checkpoint c ON c.stream = s.id AND c.slice = ''
 WHERE s.jar = %(jar)s AND s.bee = %(bee)s AND (c.sealed_cursor IS NOT NULL OR c.slices > 0);

-- round_parts --
-- The parts of a stream's last round, in their order.
SELECT c.id AS checkpoint, c.sealed_cursor
  FROM hive.checkpoint p JOIN hive.checkpoint c ON c.bee = p.bee AND c.jar = p.jar AND c.stream = p.stream
   AND c.slice <> '' AND c.round = p.round
 WHERE p.id = %(checkpoint)s ORDER BY c.slice::int;

-- lock_parts --
-- A stream and its parts, for who begins a reading of it or goes on with one.
SELECT c.id FROM hive.checkpoint p JOIN hive.checkpoint c ON c.bee = p.bee AND c.jar = p.jar AND c.stream = p.stream
 WHERE p.id = %(checkpoint)s ORDER BY c.id FOR UPDATE OF c;

-- parts_state --
-- `busy`: somebody reads it, or something of it has not landed. `open`: parts of its last round that are not at their end.
-- `uncompared`: a complete read that nobody has compared yet, because who landed the last of it died before.
SELECT max(c.sealed_seq) AS top, max(c.round) AS round,
       bool_or(c.landed_seq < c.sealed_seq OR EXISTS (SELECT FROM hive.lease l WHERE l.checkpoint = c.id
                                                         AND l.task IS NOT NULL AND l.task <> %(task)s)) AS busy,
       bool_or(c.whole_to IS NOT NULL) AS uncompared,
       count(*) FILTER (WHERE p.slices > 0 AND c.slice <> '' AND c.round = p.round AND NOT c.ended) AS open
  FROM hive.checkpoint p JOIN hive.checkpoint c ON c.bee = p.bee AND c.jar = p.jar AND c.stream = p.stream
 WHERE p.id = %(checkpoint)s;

-- open_parts --
SELECT c.id AS checkpoint, c.stream, c.fingerprint, c.epoch, c.sealed_cursor, c.sealed_seq, c.slice, c.slices, c.ended,
       c.pass_from IS NOT NULL AS midway
  FROM hive.checkpoint p JOIN hive.checkpoint c ON c.bee = p.bee AND c.jar = p.jar AND c.stream = p.stream
   AND c.slice <> '' AND c.round = p.round AND NOT c.ended
 WHERE p.id = %(checkpoint)s AND p.slices > 0 ORDER BY c.id;

-- cut --
-- Another reading of the stream: in so many parts, or whole if there are none. What the last one met counts no more.
WITH whole AS (
    UPDATE hive.checkpoint
       SET slices = %(slices)s, round = %(round)s, sealed_cursor = NULL, sealed_seq = %(seq)s, landed_seq = %(seq)s,
           pass_from = NULL, whole_from = NULL, whole_to = NULL, updated_at = clock_timestamp()
     WHERE id = %(checkpoint)s
    RETURNING bee, jar, stream
)
DELETE FROM hive.seen s USING whole w, hive.checkpoint c
 WHERE c.bee = w.bee AND c.jar = w.jar AND c.stream = w.stream AND s.checkpoint = c.id;

-- register_part --
WITH point AS (
    INSERT INTO hive.checkpoint AS c (bee, jar, stream, slice, fingerprint, epoch, sealed_seq, landed_seq, round)
    SELECT p.bee, p.jar, p.stream, %(slice)s, p.fingerprint, p.epoch, %(seq)s, %(seq)s, p.round
      FROM hive.checkpoint p WHERE p.id = %(checkpoint)s
    ON CONFLICT (bee, jar, stream, slice) DO UPDATE
       SET fingerprint = excluded.fingerprint, epoch = excluded.epoch, sealed_seq = excluded.sealed_seq,
           landed_seq = excluded.landed_seq, round = excluded.round, ended = false, pass_from = NULL, whole_from = NULL,
           whole_to = NULL, held_deletes = 0, updated_at = clock_timestamp()
    RETURNING id
), free AS (
    INSERT INTO hive.lease (checkpoint) SELECT id FROM point ON CONFLICT DO NOTHING
)
SELECT id AS checkpoint FROM point;

-- begin_part --
UPDATE hive.checkpoint SET sealed_cursor = %(cursor)s WHERE id = %(checkpoint)s;

-- end_part --
UPDATE hive.checkpoint SET ended = true WHERE id = %(checkpoint)s;
