-- bee_figures --
-- One row for each enabled bee: totals of its closed flights, and what its open ones have read and landed so far. When a
-- flight closes, its sums move from the one to the other in one step, so that together they never go down. From `paused`
-- on stand what may differ from one look to the next though the bee did nothing.
WITH flying AS MATERIALIZED (
    SELECT f.bee, b.rows, b.bytes, r.landed, r.unchanged, r.superseded, r.deleted, r.quarantined
      FROM hive.flight f
     CROSS JOIN LATERAL (SELECT sum(rows) AS rows, sum(bytes) AS bytes
                           FROM hive.batch WHERE day = f.day AND flight = f.id) b
     CROSS JOIN LATERAL (SELECT sum(landed) AS landed, sum(unchanged) AS unchanged, sum(superseded) AS superseded,
                                sum(deleted) AS deleted, sum(quarantined) AS quarantined
                           FROM hive.receipt WHERE day = f.day AND flight = f.id) r
     WHERE f.state = 'running'
), summed AS (
    SELECT bee, sum(rows)::bigint AS rows, sum(bytes)::bigint AS bytes, sum(landed)::bigint AS landed,
           sum(unchanged)::bigint AS unchanged, sum(superseded)::bigint AS superseded, sum(deleted)::bigint AS deleted,
           sum(quarantined)::bigint AS quarantined
      FROM flying GROUP BY bee
), open AS (
    SELECT bee, count(*) AS open, count(*) FILTER (WHERE state = 'running') AS running
      FROM hive.flight WHERE state IN ('queued', 'running') GROUP BY bee
), slots AS (
    SELECT bee, sum(missed)::bigint AS missed, bool_or(enabled AND next_slot < clock_timestamp() - make_interval(secs => %(late)s)) AS late
      FROM hive.schedule GROUP BY bee
)
SELECT b.id, b.name, b.connector, replace(b.queue, 'bees.', '') AS bee_type, t.last_state, coalesce(s.missed, 0) AS missed,
       (SELECT CASE r.state WHEN 'closed' THEN 0 WHEN 'half_open' THEN 1 ELSE 2 END
          FROM hive.breaker r WHERE r.endpoint = b.endpoint) AS breaker,
       coalesce(t.complete, 0) AS complete, coalesce(t.failed, 0) AS failed, coalesce(t.cancelled, 0) AS cancelled,
       coalesce(t.records_read, 0) + coalesce(o.rows, 0) AS read,
       coalesce(t.bytes_read, 0) + coalesce(o.bytes, 0) AS bytes,
       coalesce(t.records_landed, 0) + coalesce(o.landed, 0) AS landed,
       coalesce(t.records_unchanged, 0) + coalesce(o.unchanged, 0) AS unchanged,
       coalesce(t.records_superseded, 0) + coalesce(o.superseded, 0) AS superseded,
       coalesce(t.records_deleted, 0) + coalesce(o.deleted, 0) AS deleted,
       coalesce(t.records_quarantined, 0) + coalesce(o.quarantined, 0) AS quarantined,
       coalesce(t.records_landed - t.organizations, 0) AS entities, coalesce(t.organizations, 0) AS organizations,
       coalesce(t.retries, 0) AS retries, coalesce(t.seconds, 0) AS seconds, coalesce(t.durations, '{}') AS durations,
       coalesce(t.last_seconds, 0) AS last_seconds, date_part('epoch', t.success_at) AS success_at,
       b.paused_at IS NOT NULL AS paused,
       CASE WHEN b.retry_at > clock_timestamp() THEN date_part('epoch', b.retry_at) END AS retry_at,
       coalesce(s.late, false) AS late, coalesce(f.open, 0) AS open, coalesce(f.running, 0) AS running,
       CASE WHEN t.last_state = 'failed' THEN b.last_error ->> 'code' END AS code,
       round(1000 * date_part('epoch', clock_timestamp() - t.success_at)) / 1000 AS success_age,
       round(1000 * date_part('epoch', clock_timestamp() - t.current_at)) / 1000 AS lag
  FROM hive.bee b LEFT JOIN hive.tally t ON t.bee = b.id LEFT JOIN summed o ON o.bee = b.id LEFT JOIN open f ON f.bee = b.id
  LEFT JOIN slots s ON s.bee = b.id
 WHERE b.enabled ORDER BY b.name;

-- all_flights --
-- Totals of all bees, of those that are gone too, and the jobs that wait and the bytes that open flights have read.
SELECT coalesce(sum(complete), 0)::bigint AS complete, coalesce(sum(failed), 0)::bigint AS failed,
       coalesce(sum(complete + failed + cancelled), 0)::bigint AS flights, coalesce(sum(seconds), 0)::float8 AS seconds,
       ARRAY[sum(durations[1]), sum(durations[2]), sum(durations[3]), sum(durations[4]), sum(durations[5]),
             sum(durations[6])]::bigint[] AS durations,
       (coalesce(sum(bytes_read), 0) + (
           SELECT coalesce(sum(b.bytes), 0)
             FROM hive.flight f CROSS JOIN LATERAL (SELECT sum(bytes) AS bytes FROM hive.batch
                                                     WHERE day = f.day AND flight = f.id) b
            WHERE f.state = 'running'))::bigint AS bytes,
       (SELECT count(*) FROM hive.flight WHERE state = 'queued') AS waiting,
       (SELECT coalesce(sum(bytes), 0)::bigint FROM hive.batch WHERE state = 'sealed') AS pending
  FROM hive.tally;

-- faults_by_type --
SELECT t.bee_type, f.code, sum(f.count)::bigint AS count
  FROM hive.fault f JOIN hive.tally t ON t.bee = f.bee GROUP BY 1, 2 ORDER BY 1, 2;

-- taken_out_by_kind --
SELECT kind, action, sum(count)::bigint AS count FROM hive.taken_out GROUP BY 1, 2 ORDER BY 1, 2;

-- queue_figures --
-- Due is what a worker may claim now: reading waits while its source asked for patience.
WITH waiting AS (
    SELECT t.queue, t.state, t.available_at,
           t.state = 'queued' AND t.available_at <= clock_timestamp()
           AND (t.kind = 'process' OR b.retry_at IS NULL OR b.retry_at <= clock_timestamp()) AS due
      FROM hive.task t LEFT JOIN hive.bee b ON b.id = t.bee WHERE t.state IN ('queued', 'running')
)
SELECT queue AS name, count(*) FILTER (WHERE due) AS due, count(*) FILTER (WHERE state = 'queued') AS waiting,
       count(*) FILTER (WHERE state = 'running') AS running,
       coalesce(extract(epoch FROM clock_timestamp() - min(available_at) FILTER (WHERE due)), 0)::float8 AS oldest
  FROM waiting GROUP BY queue ORDER BY queue;

-- worker_figures --
-- Of each worker process, and what the newest tasks of the fleet say of it: how many ended in its hands, how many of them
-- dead, and the last. A look at the newest ones only costs the same however many there are.
WITH newest AS (
    SELECT owner, state, finished_at, day, id FROM hive.task
     WHERE day >= (clock_timestamp() AT TIME ZONE 'UTC')::date - 1 ORDER BY day DESC, id DESC LIMIT %(newest)s
), done AS (
    SELECT owner, count(*) AS ended, count(*) FILTER (WHERE state = 'dead') AS dead, max(finished_at) AS last_at,
           (array_agg(to_char(day, 'YYYYMMDD') || '.' || id ORDER BY finished_at DESC))[1] AS last_task
      FROM newest WHERE state IN ('done', 'dead') GROUP BY owner
)
SELECT w.id, w.host, w.pid, w.queues, w.started_at, w.beat_at, w.alive_until > clock_timestamp() AS alive,
       coalesce(CASE WHEN isfinite(w.alive_until) THEN w.beat_at + %(quiet)s * (w.alive_until - w.beat_at) END < clock_timestamp(), false) AS quiet,
       extract(epoch FROM clock_timestamp() - w.beat_at)::float8 AS age, w.rss,
       coalesce(d.ended, 0) AS ended, coalesce(d.dead, 0) AS dead, d.last_task, d.last_at, w.pools
  FROM hive.worker w LEFT JOIN done d ON d.owner = w.id
 WHERE %(worker)s::text IS NULL OR w.id = %(worker)s ORDER BY w.id;

-- on_disk --
-- A flight closes without waiting for the disk, and a server that crashes may forget that. A counter that was told must
-- not go down again: this commit waits for its own record, and so for all that were written before it.
SELECT pg_logical_emit_message(true, 'hive.metrics', ''), set_config('synchronous_commit', 'on', true);

-- connector_figures --
-- As document 003 counts polls. `bee`: null for all. Like `bee_figures`, with what open flights have read and landed.
SELECT b.id, b.name, b.connector, b.enabled, b.paused_at IS NOT NULL AS paused, b.last_error,
       coalesce(b.retry_at > clock_timestamp(), false) AS patient,
       EXISTS (SELECT FROM hive.breaker r WHERE r.endpoint = b.endpoint AND r.state = 'open' AND b.retry_at > clock_timestamp()) AS open_breaker,
       p.at AS polled_at, t.success_at, extract(epoch FROM clock_timestamp() - t.success_at)::float8 AS success_age,
       coalesce(t.complete, 0) AS complete, coalesce(t.failed, 0) AS failed, coalesce(t.cancelled, 0) AS cancelled,
       coalesce(t.seconds, 0) AS seconds, t.last_state, b.last_error ->> 'code' AS code, b.last_error ->> 'advice' AS advice,
       (coalesce(t.records_read, 0) + coalesce(o.rows, 0))::bigint AS read,
       (coalesce(t.records_landed, 0) + coalesce(o.landed, 0))::bigint AS landed, n.slot AS next_slot,
       coalesce(n.slot < clock_timestamp() - make_interval(secs => %(late)s), false) AS late
  FROM hive.bee b LEFT JOIN hive.tally t ON t.bee = b.id
  LEFT JOIN LATERAL (SELECT coalesce(started_at, created_at) AS at FROM hive.flight
                      WHERE bee = b.id ORDER BY created_at DESC LIMIT 1) p ON true
  LEFT JOIN (SELECT bee, min(next_slot) AS slot FROM hive.schedule WHERE enabled GROUP BY bee) n
    ON n.bee = b.id AND b.enabled AND b.paused_at IS NULL
  LEFT JOIN LATERAL (
      SELECT sum(r.rows) AS rows, sum(l.landed) AS landed FROM hive.flight f
       CROSS JOIN LATERAL (SELECT sum(rows) AS rows FROM hive.batch WHERE day = f.day AND flight = f.id) r
       CROSS JOIN LATERAL (SELECT sum(landed) AS landed FROM hive.receipt WHERE day = f.day AND flight = f.id) l
       WHERE f.bee = b.id AND f.state IN ('queued', 'running')) o ON true
 WHERE b.origin <> 'gone' AND (%(bee)s::text IS NULL OR b.name = %(bee)s) ORDER BY b.name;

-- open_conditions --
-- Of each bee with open flights: seconds since a task in some worker's hands began or brought something about (null where
-- none is in hand; what a reader of changes is told to wait for more does not count), whether that is reading, for
-- how long such a worker was not heard of where that is too long, whether it is dead, how long a due task has waited, how long so where no worker of its
-- queue lives, and the last error of a task that is tried again. `ours`: codes of waits among flights, which say nothing
-- of the bee.
WITH reached AS (
    SELECT DISTINCT unnest(queues) AS queue FROM hive.worker WHERE alive_until > clock_timestamp()
), held AS (
    SELECT t.day, t.flight, max(t.started_at) FILTER (WHERE t.state = 'running') AS began,
           bool_and(t.kind <> 'process') FILTER (WHERE t.state = 'running') AS reads,
           min(o.beat_at) FILTER (WHERE o.alive_until > clock_timestamp()
                                        AND CASE WHEN isfinite(o.alive_until) THEN o.beat_at + %(quiet)s * (o.alive_until - o.beat_at) END < clock_timestamp()) AS heard_at,
           bool_or(t.state = 'running' AND (o.id IS NULL OR o.alive_until <= clock_timestamp())) AS lost,
           min(t.available_at) FILTER (WHERE t.state = 'queued') AS due_at,
           min(t.available_at) FILTER (WHERE t.state = 'queued' AND NOT t.queue = ANY (ARRAY(SELECT queue FROM reached))) AS due_since
      FROM hive.task t LEFT JOIN hive.worker o ON o.id = t.owner AND t.state = 'running'
     WHERE t.state IN ('queued', 'running') GROUP BY t.day, t.flight
), moved AS (
    SELECT t.day, t.flight, greatest(t.began, w.sealed_at, r.landed_at) AS at
      FROM held t
     CROSS JOIN LATERAL (SELECT max(created_at) AS sealed_at FROM hive.batch WHERE day = t.day AND flight = t.flight) w
     CROSS JOIN LATERAL (SELECT max(created_at) AS landed_at FROM hive.receipt WHERE day = t.day AND flight = t.flight) r
     WHERE t.began IS NOT NULL
), open AS (
    SELECT f.bee, min(greatest(0, date_part('epoch', clock_timestamp() - m.at)
                                  - CASE WHEN t.reads THEN coalesce((SELECT (b.config #>> '{source,cdc,wait}')::float8
                                                                       FROM hive.bee b WHERE b.id = f.bee
                                                                        AND jsonb_typeof(b.config #> '{source,cdc,wait}') = 'number'), 0)
                                         ELSE 0 END)) FILTER (WHERE m.at IS NOT NULL) AS silent,
           coalesce(bool_or(t.reads), false) AS reads, bool_or(t.lost) AS lost,
           min(t.heard_at) AS heard_at, min(t.due_at) AS due_at, min(t.due_since) AS due_since
      FROM hive.flight f
      LEFT JOIN held t ON t.flight = f.id AND t.day = f.day
      LEFT JOIN moved m ON m.flight = f.id AND m.day = f.day
     WHERE f.state IN ('queued', 'running') GROUP BY f.bee
), told AS (
    SELECT DISTINCT ON (f.bee) f.bee, t.last_error AS error
      FROM hive.task t JOIN hive.flight f ON f.id = t.flight AND f.day = t.day
     WHERE t.state IN ('queued', 'running') AND t.last_error IS NOT NULL AND NOT t.last_error ->> 'code' = ANY (%(ours)s)
       AND f.state IN ('queued', 'running')
     ORDER BY f.bee, f.created_at DESC, t.id DESC
)
SELECT o.bee, o.silent, o.reads, date_part('epoch', clock_timestamp() - o.heard_at) AS unheard, o.lost,
       CASE WHEN o.due_at <= clock_timestamp() THEN date_part('epoch', clock_timestamp() - o.due_at) END AS waits,
       CASE WHEN o.due_since <= clock_timestamp() THEN date_part('epoch', clock_timestamp() - o.due_since) END AS untaken,
       e.error
  FROM open o LEFT JOIN told e ON e.bee = o.bee;

-- slots_left_out --
-- Slots of the last hour for which a bee was not ready, since its last complete flight began.
SELECT s.bee, count(*) AS slots FROM hive.slot s LEFT JOIN hive.tally t ON t.bee = s.bee
 WHERE s.flight IS NULL AND s.created_at > greatest(clock_timestamp() - interval '1 hour', t.current_at)
   AND s.outcome IN ('skipped:overlap', 'skipped:catch_up')
 GROUP BY s.bee;

-- keyless --
-- Bees whose newest flight that ended is complete and set all of its records aside, some of them still for want of a key.
-- Bees of which nothing was ever set aside are not looked at closely.
SELECT b.id AS bee, b.name, f.records_read AS records
  FROM hive.tally t JOIN hive.bee b ON b.id = t.bee
 CROSS JOIN LATERAL (SELECT id, state, records_read, records_quarantined FROM hive.flight
                      WHERE bee = b.id AND state NOT IN ('queued', 'running') ORDER BY created_at DESC LIMIT 1) f
 WHERE t.last_state = 'complete' AND t.records_quarantined > 0 AND b.enabled
   AND f.state = 'complete' AND f.records_read > 0 AND f.records_quarantined >= f.records_read
   AND EXISTS (SELECT FROM hive.quarantine
                WHERE flight = f.id AND state = 'open' AND code IN ('no_key', 'null_key'));

-- pace --
-- Records that were read and landed so far, by all bees, and flights that ended.
SELECT (coalesce(sum(t.records_read), 0) + coalesce((
            SELECT sum(b.rows) FROM hive.flight f JOIN hive.batch b ON b.day = f.day AND b.flight = f.id
             WHERE f.state = 'running'), 0))::bigint AS read,
       (coalesce(sum(t.records_landed + t.records_unchanged), 0) + coalesce((
            SELECT sum(r.landed + r.unchanged) FROM hive.flight f JOIN hive.receipt r ON r.day = f.day AND r.flight = f.id
             WHERE f.state = 'running'), 0))::bigint AS landed,
       coalesce(sum(t.complete), 0)::bigint AS complete, coalesce(sum(t.failed), 0)::bigint AS failed
  FROM hive.tally t;
