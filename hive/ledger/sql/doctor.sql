-- look_bees --
SELECT b.id, b.name, b.connector, b.enabled, b.paused_at, b.retry_at, b.retry_at > clock_timestamp() AS patient,
       EXISTS (SELECT FROM hive.breaker r WHERE r.endpoint = b.endpoint AND r.state = 'open') AS broken
  FROM hive.bee b WHERE b.origin <> 'gone' ORDER BY b.name;

-- look_unheard --
-- Due work of queues that no live worker listens to.
SELECT queue, count(*) AS tasks, extract(epoch FROM clock_timestamp() - min(available_at))::int AS oldest
  FROM hive.task t
 WHERE state = 'queued' AND available_at <= clock_timestamp()
   AND NOT EXISTS (SELECT FROM hive.worker w WHERE w.alive_until > clock_timestamp() AND t.queue = ANY (w.queues))
 GROUP BY queue ORDER BY queue;

-- look_unheard_of --
SELECT w.id, w.queues, extract(epoch FROM clock_timestamp() - w.beat_at) AS age,
       (SELECT count(*) FROM hive.task t WHERE t.owner = w.id AND t.state = 'running') AS tasks
  FROM hive.worker w
 WHERE w.alive_until > clock_timestamp() AND CASE WHEN isfinite(w.alive_until) THEN w.beat_at + %(quiet)s * (w.alive_until - w.beat_at) END < clock_timestamp() ORDER BY w.id;

-- look_keepers --
-- Beat and janitors are the workers that listen to no queue.
SELECT EXISTS (SELECT FROM hive.worker w WHERE w.alive_until > clock_timestamp() AND w.queues = '{}') AS keeper,
       (SELECT count(*) FROM hive.schedule s JOIN hive.bee b ON b.id = s.bee
         WHERE s.enabled AND b.enabled AND b.paused_at IS NULL
           AND s.next_slot < clock_timestamp() - make_interval(secs => %(late)s)) AS late,
       (SELECT count(*) FROM hive.flight WHERE state IN ('queued', 'running')) AS open;

-- look_orphans --
SELECT t.owner, count(*) AS tasks, w.beat_at,
       coalesce(extract(epoch FROM clock_timestamp() - greatest(w.beat_at, min(t.started_at))), 1e9) AS age
  FROM hive.task t LEFT JOIN hive.worker w ON w.id = t.owner
 WHERE t.state = 'running' AND (w.id IS NULL OR w.alive_until < clock_timestamp())
 GROUP BY t.owner, w.beat_at ORDER BY t.owner;

-- look_leases --
SELECT b.name AS bee, s.name AS stream, l.taken_at
  FROM hive.lease l JOIN hive.checkpoint c ON c.id = l.checkpoint JOIN hive.bee b ON b.id = c.bee
  JOIN hive.stream s ON s.id = c.stream LEFT JOIN hive.task t ON t.day = l.day AND t.id = l.task
 WHERE l.task IS NOT NULL AND t.state IS DISTINCT FROM 'running' ORDER BY 1, 2;

-- look_source_slots --
SELECT s.source, count(*) AS slots FROM hive.source_slot s
 WHERE s.task IS NOT NULL AND NOT EXISTS (SELECT FROM hive.task t WHERE t.id = s.task AND t.state = 'running')
 GROUP BY 1 ORDER BY 1;

-- look_retries --
SELECT b.name AS bee, t.last_error AS error, count(*) AS tasks, max(t.attempt) AS attempt, min(t.available_at) AS at,
       (array_agg(t.flight::text ORDER BY t.id))[1] AS flight
  FROM hive.task t JOIN hive.bee b ON b.id = t.bee
 WHERE t.state = 'queued' AND t.last_error IS NOT NULL GROUP BY b.name, t.last_error ORDER BY b.name;

-- look_failed --
-- Bees whose newest flight that ended has failed, and whether its batches can be landed from quarantine. One that had read
-- everything and whose dead batches were settled since needs nobody any more.
SELECT b.name AS bee, f.id::text AS flight, f.error, f.finished_at, q.dead
  FROM hive.bee b
 CROSS JOIN LATERAL (SELECT id, day, error, finished_at, state FROM hive.flight
                      WHERE bee = b.id AND state NOT IN ('queued', 'running') ORDER BY created_at DESC LIMIT 1) f
 CROSS JOIN LATERAL (SELECT count(*) > 0 AS had, count(*) FILTER (WHERE state = 'open') > 0 AS dead
                       FROM hive.quarantine WHERE flight = f.id AND code = 'dead_batch') q
 WHERE f.state = 'failed' AND b.origin <> 'gone'
   AND (q.dead OR NOT q.had OR EXISTS (SELECT FROM hive.task t WHERE t.day = f.day AND t.flight = f.id
                                          AND t.kind IN ('plan', 'collect') AND t.state = 'dead'))
 ORDER BY b.name;

-- look_unindexed --
SELECT sum(records)::bigint AS records, min(landed_at) AS since FROM hive.unindexed
HAVING min(landed_at) < clock_timestamp() - make_interval(secs => %(late)s);

-- look_held_deletes --
SELECT b.name AS bee, s.name AS stream, c.held_deletes
  FROM hive.checkpoint c JOIN hive.bee b ON b.id = c.bee JOIN hive.stream s ON s.id = c.stream
 WHERE c.held_deletes > 0 AND b.enabled ORDER BY 1, 2 LIMIT 100;

-- look_keyless --
-- Bees whose newest flight that ended is complete, and all of whose records lie in quarantine still for want of a key.
SELECT b.name AS bee, f.records_read, f.finished_at
  FROM hive.bee b
 CROSS JOIN LATERAL (SELECT id, state, records_read, records_quarantined, finished_at FROM hive.flight
                      WHERE bee = b.id AND state NOT IN ('queued', 'running') ORDER BY created_at DESC LIMIT 1) f
 CROSS JOIN LATERAL (SELECT sum(records) AS records FROM hive.quarantine
                      WHERE flight = f.id AND state = 'open' AND code IN ('no_key', 'null_key')) q
 WHERE f.state = 'complete' AND b.origin <> 'gone' AND f.records_read > 0 AND f.records_quarantined >= f.records_read
   AND q.records >= f.records_read
 ORDER BY b.name;

-- look_quarantine --
-- `lost`: of a snapshot that did not end well. Its jar is gone, so what lies here cannot land any more.
SELECT b.name AS bee, j.name AS jar, q.code, sum(q.records) AS records, min(q.id) AS first,
       (array_agg(q.flight::text ORDER BY q.id))[1] AS flight,
       coalesce(bool_or(f.mode = 'snapshot' AND f.state IN ('failed', 'cancelled')), false) AS lost,
       bool_or(b.origin = 'gone') AS gone
  FROM hive.quarantine q JOIN hive.bee b ON b.id = q.bee JOIN hive.jar j ON j.id = q.jar
  LEFT JOIN hive.flight f ON f.id = q.flight
 WHERE q.state = 'open' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

-- look_schedules --
SELECT b.name AS bee, s.name, s.enabled, s.missed FROM hive.schedule s JOIN hive.bee b ON b.id = s.bee
 WHERE NOT s.enabled OR s.missed > 0 ORDER BY 1, 2;

-- look_flights --
-- Open flights: how long they last, how long the bee's last complete ones took, and since when nothing has moved that
-- should have: what a reader of changes is told to wait for more does not count.
SELECT b.name AS bee, f.id::text AS flight, extract(epoch FROM clock_timestamp() - f.started_at)::int AS seconds, u.usual,
       greatest(0, extract(epoch FROM clock_timestamp() - greatest(f.started_at, p.sealed, p.landed, p.began))
                   - CASE WHEN p.reads AND jsonb_typeof(b.config #> '{source,cdc,wait}') = 'number'
                          THEN (b.config #>> '{source,cdc,wait}')::float8 ELSE 0 END)::int AS idle, p.waits
  FROM hive.flight f JOIN hive.bee b ON b.id = f.bee
 CROSS JOIN LATERAL (
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - started_at)) AS usual
      FROM (SELECT started_at, finished_at FROM hive.flight WHERE bee = f.bee AND mode = f.mode AND state = 'complete'
             ORDER BY created_at DESC LIMIT 20) last
 ) u
 CROSS JOIN LATERAL (
    SELECT (SELECT max(created_at) FROM hive.batch WHERE day = f.day AND flight = f.id) AS sealed,
           (SELECT max(created_at) FROM hive.receipt WHERE day = f.day AND flight = f.id) AS landed,
           (SELECT max(started_at) FROM hive.task
             WHERE day = f.day AND flight = f.id AND state IN ('queued', 'running')) AS began,
           (SELECT bool_and(kind <> 'process') FROM hive.task
             WHERE day = f.day AND flight = f.id AND state = 'running') AS reads,
           EXISTS (SELECT FROM hive.task
                    WHERE day = f.day AND flight = f.id AND state = 'queued' AND last_error IS NOT NULL) AS waits
 ) p
 WHERE f.state = 'running' AND f.started_at < clock_timestamp() - make_interval(secs => %(since)s) ORDER BY f.started_at LIMIT 200;

-- look_connections --
SELECT count(*) AS used,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS most
  FROM pg_stat_activity WHERE backend_type = 'client backend';

-- look_pending --
SELECT coalesce(sum(bytes), 0)::bigint AS sealed FROM hive.batch WHERE state = 'sealed';

-- look_inbox --
-- Messages that are records, and which no flight has read for longer than one takes.
SELECT b.name AS bee, b.enabled AND b.paused_at IS NULL AS flies, count(*) AS messages,
       extract(epoch FROM clock_timestamp() - min(i.received_at))::int AS oldest
  FROM hive.inbox i JOIN hive.bee b ON b.id = i.bee
 WHERE i.slot_key IS NULL
   AND EXISTS (SELECT FROM hive.listener l WHERE l.bee = b.id AND l.kind = 'webhook' AND l.subject = 'records')
   AND NOT EXISTS (SELECT FROM hive.flight f WHERE f.bee = b.id AND f.state IN ('queued', 'running'))
 GROUP BY b.id
HAVING min(i.received_at) < clock_timestamp()
                          - make_interval(secs => %(late)s + 10 * coalesce((b.config ->> 'debounce')::float8, 0))
 ORDER BY b.name;
