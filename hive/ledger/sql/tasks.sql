-- claim --
-- A claim raises attempt and fence, by the database's clock only. No row: a duplicate, stale or not yet allowed hint.
-- `starts`: the slot of a flight of which nothing was claimed before, else null. From `seq` on: the sealed batch as
-- `load_batch` gives it, if it is a little one.
-- Reading waits while its source asked for patience or while too much sealed data waits to land.
--
-- This commit, like those of `adopt`, `hold_landing`, `close_flight` and most of `seal`, does not wait for the disk. A
-- server that crashes forgets such a step whole, never a part of it and never an earlier one, and the step is done again:
-- only what others were told of (a source that its records are safe, a person which flights there are) must be on disk
-- first. Its sequences may give a forgotten number once more: so a task belongs to fence *and* owner, and a hint of a
-- forgotten task claims none of another `stage`.
WITH mine AS (
    SELECT t.id
      FROM hive.task_{day} t JOIN hive.bee b ON b.id = t.bee
     WHERE t.day = %(day)s AND t.id = %(id)s AND t.state = 'queued' AND t.available_at <= clock_timestamp()
       AND coalesce((t.kind = 'process') = (%(stage)s::text = 'process'), true)
       AND (t.kind = 'process'
            OR ((b.retry_at IS NULL OR b.retry_at <= clock_timestamp())
                AND NOT %(full)s
                AND (SELECT coalesce(sum(bytes), 0) FROM hive.batch_{day} WHERE state = 'sealed' AND flight = t.flight) < %(flight_bytes)s))
       FOR UPDATE OF t SKIP LOCKED
), claimed AS (
    UPDATE hive.task_{day} t
       SET state = 'running', attempt = t.attempt + 1, fence = nextval('hive.fence'), owner = %(owner)s, hinted_at = NULL,
           started_at = clock_timestamp()
      FROM mine
     WHERE t.day = %(day)s AND t.id = mine.id
    RETURNING t.*
), started AS (
    UPDATE hive.flight SET state = 'running', started_at = clock_timestamp()
     WHERE id = (SELECT flight FROM claimed) AND state = 'queued'
    RETURNING slot_key
)
SELECT c.day, c.id, c.flight, c.bee, c.kind, c.queue, c.priority, c.attempt, c.crashes, c.fence, c.owner, c.checkpoint,
       c.batch, c.row_from, c.row_to, set_config('synchronous_commit', 'off', true) AS commit,
       b.name AS bee_name, b.tenant, b.source, f.mode, f.full_refresh, f.jar, f.config_version,
       b.config_version AS newest_config, f.data_key,
       j.part, j.name AS jar_name, (SELECT slot_key FROM started) AS starts,
       s.seq, s.epoch, s.rows, s.stream, s.landed_seq, s.body, s.uncompared, s.of_whole
  FROM claimed c JOIN hive.flight f ON f.id = c.flight JOIN hive.bee b ON b.id = c.bee JOIN hive.jar j ON j.id = f.jar
  LEFT JOIN LATERAL (
            SELECT s.seq, s.epoch, s.rows, k.stream, k.landed_seq, p.body, coalesce(k.whole_to < s.seq, false) AS uncompared,
                   coalesce(k.pass_from >= 0, false) OR k.whole_to IS NOT NULL AS of_whole
              FROM hive.payload_{day} p JOIN hive.batch_{day} s ON s.id = p.batch JOIN hive.checkpoint k ON k.id = s.checkpoint
             WHERE p.day = %(day)s AND p.batch = c.batch AND s.day = %(day)s AND octet_length(p.body) <= %(little)s OFFSET 0) s
         ON true;

-- defer --
-- A hint that came while the task was not claimable: look again a little later.
UPDATE hive.task_{day} SET hinted_at = NULL, available_at = clock_timestamp() + interval '1 second'
 WHERE day = %(day)s AND id = %(id)s AND state = 'queued' AND available_at <= clock_timestamp();

-- hold --
-- The fence first: no row means that this worker was taken for dead and another one has the task.
SELECT kind, checkpoint FROM hive.task_{day}
 WHERE day = %(day)s AND id = %(id)s AND fence = %(fence)s AND owner = %(owner)s AND state = 'running' FOR UPDATE;

-- finish --
-- Done, and what it held beside its row is free. `waiting`: tasks of its queue wait for a hint, and few are outstanding.
WITH lease AS (
    UPDATE hive.lease SET task = NULL WHERE checkpoint = %(checkpoint)s AND task = %(id)s
), slot AS (
    UPDATE hive.source_slot SET task = NULL WHERE source = %(source)s AND task = %(id)s
)
UPDATE hive.task_{day} SET state = 'done', finished_at = clock_timestamp(), last_error = NULL
 WHERE day = %(day)s AND id = %(id)s
RETURNING (SELECT count(*) FROM hive.task_{day} h
            WHERE h.queue = %(queue)s AND h.state = 'queued' AND h.hinted_at IS NOT NULL) <= %(few)s
      AND EXISTS (SELECT FROM hive.task_{day} w
                   WHERE w.queue = %(queue)s AND w.state = 'queued' AND w.hinted_at IS NULL
                     AND w.available_at <= clock_timestamp()) AS waiting;

-- hold_landing --
-- The fence first, and in the same step: whose landing this is, and how long it may last. A landing goes to its rows by
-- index, also by plans that were made while a table was empty, and are kept.
SELECT set_config('application_name', %(name)s, true) AS name, set_config(%(bound)s, %(limit)s, true) AS bound,
       set_config('synchronous_commit', 'off', true) AS commit, set_config('enable_seqscan', 'off', true) AS scans
  FROM hive.task_{day}
 WHERE day = %(day)s AND id = %(id)s AND fence = %(fence)s AND owner = %(owner)s AND state = 'running' FOR UPDATE;

-- requeue --
-- `given_back` is 1 for a voluntary release (stop, rate limit, backpressure): such an attempt does not count.
UPDATE hive.task_{day}
   SET state = 'queued', attempt = attempt - %(given_back)s, crashes = crashes + %(crashed)s, owner = NULL, hinted_at = NULL,
       available_at = clock_timestamp() + make_interval(secs => %(after)s), last_error = %(error)s
 WHERE day = %(day)s AND id = %(id)s;

-- give_up --
UPDATE hive.task_{day} SET state = 'dead', finished_at = clock_timestamp(), last_error = %(error)s
 WHERE day = %(day)s AND id = %(id)s;

-- new_task --
INSERT INTO hive.task_{day} (day, flight, bee, kind, queue, priority, checkpoint, batch, row_from, row_to, parent, hinted_at)
VALUES (%(day)s, %(flight)s, %(bee)s, %(kind)s, %(queue)s, %(priority)s, %(checkpoint)s, %(batch)s, %(row_from)s,
        %(row_to)s, %(parent)s,
        CASE WHEN (SELECT count(*) < %(room)s AND count(*) FILTER (WHERE bee = %(bee)s) < (%(room)s + 3) / 4
                     FROM hive.task_{day}
                    WHERE queue = %(queue)s AND state = 'queued' AND hinted_at IS NOT NULL)
             THEN clock_timestamp() END)
RETURNING id, hinted_at IS NOT NULL AS hinted;

-- adopt --
-- The planning task becomes the reading task of the bee's first stream, if this worker still has it (fence first) and
-- nobody else reads that stream. A row that somebody holds is not waited for.
WITH mine AS (
    UPDATE hive.task_{day} SET kind = 'collect', checkpoint = %(checkpoint)s
     WHERE day = %(day)s AND id = %(id)s AND fence = %(fence)s AND owner = %(owner)s AND state = 'running'
    RETURNING id
), leased AS (
    UPDATE hive.lease l SET day = %(day)s, task = mine.id, fence = %(fence)s, taken_at = clock_timestamp()
      FROM mine
     WHERE l.checkpoint = (SELECT checkpoint FROM hive.lease
                            WHERE checkpoint = %(checkpoint)s AND (task IS NULL OR task = %(id)s)
                              FOR UPDATE SKIP LOCKED)
    RETURNING l.checkpoint
)
SELECT EXISTS (SELECT FROM mine) AS held, EXISTS (SELECT FROM leased) AS leased,
       set_config('synchronous_commit', 'off', true) AS commit;

-- take_lease --
-- One reader a stream. A row that somebody holds is not waited for.
UPDATE hive.lease l SET day = %(day)s, task = %(id)s, fence = %(fence)s, taken_at = clock_timestamp()
 WHERE l.checkpoint = (SELECT checkpoint FROM hive.lease
                        WHERE checkpoint = %(checkpoint)s AND (task IS NULL OR task = %(id)s) FOR UPDATE SKIP LOCKED)
RETURNING l.checkpoint;

-- hold_reading --
-- The fence first: the task is still this worker's, and so is the stream.
SELECT t.id FROM hive.task_{day} t JOIN hive.lease l ON l.checkpoint = t.checkpoint AND l.task = t.id AND l.fence = t.fence
 WHERE t.day = %(day)s AND t.id = %(id)s AND t.fence = %(fence)s AND t.owner = %(owner)s AND t.state = 'running'
   AND t.checkpoint = %(checkpoint)s
   FOR UPDATE OF t, l;

-- free_lease --
UPDATE hive.lease SET task = NULL WHERE checkpoint = %(checkpoint)s AND task = %(id)s;

-- take_source_slot --
UPDATE hive.source_slot s SET task = %(id)s
 WHERE (s.source, s.n) = (SELECT source, n FROM hive.source_slot
                           WHERE source = %(source)s AND (task IS NULL OR task = %(id)s)
                           ORDER BY task NULLS LAST, n LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING n;

-- free_source_slot --
UPDATE hive.source_slot SET task = NULL WHERE source = %(source)s AND task = %(id)s;

-- frozen_landings --
-- A landing whose worker stopped beating may still hold its locks, its own task's among them: a client that is frozen in
-- COPY outlives every server time-out. So this looks without locking.
SELECT pg_terminate_backend(a.pid)
  FROM hive.task t LEFT JOIN hive.worker w ON w.id = t.owner
  JOIN pg_stat_activity a ON a.application_name = 'hive:' || to_char(t.day, 'YYYYMMDD') || '.' || t.id || ':' || t.fence
 WHERE t.state = 'running' AND (w.id IS NULL OR w.alive_until < clock_timestamp())
   AND a.pid <> pg_backend_pid() AND a.datname = current_database();

-- expired_tasks --
-- Running tasks whose worker stopped beating, as a claim gives them.
SELECT t.day, t.id, t.flight, t.bee, t.kind, t.queue, t.priority, t.attempt, t.crashes, t.fence, t.owner, t.checkpoint, t.batch,
       t.row_from, t.row_to, b.name AS bee_name, b.tenant, b.source, f.mode, f.full_refresh, f.jar, f.config_version,
       b.config_version AS newest_config, f.data_key, j.part, j.name AS jar_name, t.last_error
  FROM hive.task t JOIN hive.bee b ON b.id = t.bee JOIN hive.flight f ON f.id = t.flight JOIN hive.jar j ON j.id = f.jar
  LEFT JOIN hive.worker w ON w.id = t.owner
 WHERE t.state = 'running' AND (w.id IS NULL OR w.alive_until < clock_timestamp())
 ORDER BY t.id LIMIT 50 FOR UPDATE OF t SKIP LOCKED;

-- overdue_landings --
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE application_name LIKE 'hive:%%:%%' AND datname = current_database() AND pid <> pg_backend_pid()
   AND xact_start < clock_timestamp() - make_interval(secs => %(limit)s);
