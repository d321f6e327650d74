-- dash_flights --
-- Open flights, those that run first; `expected` is what the bee's last complete flight of the kind read.
SELECT f.id::text AS flight, b.name AS bee, f.state, f.mode, j.name AS jar, f.created_at, f.started_at, s.read, s.bytes,
       coalesce(r.done, 0)::bigint AS done, coalesce(r.quarantined, 0)::bigint AS quarantined, e.expected, k.reading,
       k.error, k.attempt
  FROM (SELECT * FROM hive.flight WHERE state IN ('queued', 'running')
         ORDER BY state DESC, created_at LIMIT %(most)s) f
  JOIN hive.bee b ON b.id = f.bee JOIN hive.jar j ON j.id = f.jar
 CROSS JOIN LATERAL (SELECT coalesce(sum(rows), 0)::bigint AS read, coalesce(sum(bytes), 0)::bigint AS bytes
                       FROM hive.batch WHERE day = f.day AND flight = f.id) s
 CROSS JOIN LATERAL (SELECT sum(landed + unchanged + superseded + deleted + quarantined) AS done,
                            sum(quarantined) AS quarantined
                       FROM hive.receipt WHERE day = f.day AND flight = f.id) r
  LEFT JOIN LATERAL (SELECT records_read AS expected FROM hive.flight l
                      WHERE l.bee = f.bee AND l.mode = f.mode AND l.state = 'complete'
                      ORDER BY l.created_at DESC LIMIT 1) e ON true
 CROSS JOIN LATERAL (SELECT bool_or(t.kind IN ('plan', 'collect')) AS reading,
                            (array_agg(t.last_error) FILTER (WHERE t.last_error IS NOT NULL))[1] AS error,
                            max(t.attempt) AS attempt
                       FROM hive.task t WHERE t.day = f.day AND t.flight = f.id AND t.state IN ('queued', 'running')) k
 ORDER BY f.state DESC, f.created_at;

-- dash_expected --
-- What the last complete flight of the bee in the same mode read, as long as this one is open.
SELECT (SELECT l.records_read FROM hive.flight l
         WHERE l.bee = f.bee AND l.mode = f.mode AND l.state = 'complete' ORDER BY l.created_at DESC LIMIT 1) AS expected
  FROM hive.flight f WHERE f.id = %(flight)s AND f.state IN ('queued', 'running');

-- dash_open --
SELECT count(*) FILTER (WHERE state = 'running') AS running, count(*) FILTER (WHERE state = 'queued') AS queued
  FROM hive.flight WHERE state IN ('queued', 'running');

-- dash_settled --
-- Records settled by the landings of the last minutes, for each span of `step` seconds: of flights that are open, or
-- ended since.
SELECT floor(extract(epoch FROM clock_timestamp() - r.created_at) / %(step)s)::int AS ago,
       sum(r.landed + r.unchanged + r.superseded + r.deleted)::bigint AS records
  FROM hive.flight f JOIN hive.receipt r ON r.day = f.day AND r.flight = f.id
 WHERE f.day >= (clock_timestamp() AT TIME ZONE 'UTC')::date - 1
   AND (f.finished_at IS NULL OR f.finished_at > clock_timestamp() - make_interval(secs => %(span)s))
   AND r.created_at > clock_timestamp() - make_interval(secs => %(span)s)
 GROUP BY 1;

-- dash_hours --
-- How flights ended in each of the last 24 hours, and what they landed.
SELECT floor(extract(epoch FROM clock_timestamp() - finished_at) / 3600)::int AS ago,
       count(*) FILTER (WHERE state = 'complete') AS complete, count(*) FILTER (WHERE state = 'failed') AS failed,
       count(*) FILTER (WHERE state = 'cancelled') AS cancelled, sum(records_landed)::bigint AS landed
  FROM hive.flight
 WHERE day >= (clock_timestamp() AT TIME ZONE 'UTC')::date - 2 AND finished_at > clock_timestamp() - interval '24 hours'
 GROUP BY 1;

-- dash_scrubbed --
SELECT floor(extract(epoch FROM clock_timestamp() - f.finished_at) / 3600)::int AS ago, s.kind, sum(s.count)::bigint AS count
  FROM hive.flight f CROSS JOIN LATERAL jsonb_to_recordset(f.scrubbed) AS s(kind text, count bigint)
 WHERE f.day >= (clock_timestamp() AT TIME ZONE 'UTC')::date - 2 AND f.scrubbed IS NOT NULL
   AND f.finished_at > clock_timestamp() - interval '24 hours'
 GROUP BY 1, 2;

-- dash_jar_growth --
SELECT j.name, floor(extract(epoch FROM clock_timestamp() - f.finished_at) / 3600)::int AS ago,
       sum(f.records_landed)::bigint AS landed
  FROM hive.flight f JOIN hive.jar j ON j.id = f.jar
 WHERE f.day >= (clock_timestamp() AT TIME ZONE 'UTC')::date - 2 AND f.records_landed > 0
   AND f.finished_at > clock_timestamp() - interval '24 hours'
 GROUP BY 1, 2;

-- dash_jars --
-- Jars, those that changed last first; an unfinished snapshot is no jar yet.
SELECT j.name, j.kind, j.created_at, j.updated_at, count(*) OVER () AS found,
       (SELECT count(*) FROM hive.stream s WHERE s.jar = j.id) AS streams
  FROM hive.jar j WHERE j.status <> 'archived' AND j.visible
   AND (%(name)s::text IS NULL OR strpos(lower(j.name), lower(%(name)s)) > 0)
 ORDER BY j.updated_at DESC, j.name LIMIT %(most)s OFFSET %(skip)s;

-- dash_jar_counts --
SELECT j.name, count(*) AS records
  FROM hive.honey h JOIN hive.jar j ON j.id = h.jar WHERE h.deleted_at IS NULL GROUP BY 1;

-- dash_faults --
-- Flights that failed, by code.
SELECT code, sum(count)::bigint AS count FROM hive.fault GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT %(most)s;

-- dash_retries --
SELECT (SELECT coalesce(sum(retries), 0)::bigint FROM hive.tally) AS ever,
       (SELECT count(*) FROM hive.task WHERE state = 'queued' AND hinted_at IS NULL AND last_error IS NOT NULL)
     + (SELECT count(*) FROM hive.task WHERE state = 'queued' AND hinted_at IS NOT NULL AND last_error IS NOT NULL) AS now;

-- dash_quarantine --
-- Open entries, newest first, from before the number `before` on.
SELECT q.id, b.name AS bee, j.name AS jar, s.name AS stream, q.flight::text AS flight, q.records, q.code, q.reason,
       q.place, q.created_at
  FROM hive.quarantine q LEFT JOIN hive.bee b ON b.id = q.bee LEFT JOIN hive.jar j ON j.id = q.jar
  LEFT JOIN hive.stream s ON s.id = q.stream
 WHERE q.state = 'open' AND (%(bee)s::text IS NULL OR b.name = %(bee)s) AND (%(before)s::bigint IS NULL OR q.id < %(before)s)
 ORDER BY q.id DESC LIMIT %(most)s;

-- dash_quarantined --
SELECT coalesce(sum(records), 0)::bigint AS records, count(*) AS entries FROM hive.quarantine WHERE state = 'open';

-- dash_workers --
SELECT count(*) FILTER (WHERE alive_until > clock_timestamp() AND queues <> '{}') AS working,
       count(*) FILTER (WHERE alive_until > clock_timestamp() AND queues = '{}'
                          AND NOT coalesce(CASE WHEN isfinite(alive_until) THEN beat_at + %(quiet)s * (alive_until - beat_at) END < clock_timestamp(), false)) AS keeping,
       count(*) FILTER (WHERE alive_until > clock_timestamp()
                          AND CASE WHEN isfinite(alive_until) THEN beat_at + %(quiet)s * (alive_until - beat_at) END < clock_timestamp()) AS quiet,
       count(*) FILTER (WHERE alive_until <= clock_timestamp()) AS lost,
       coalesce(sum(rss) FILTER (WHERE alive_until > clock_timestamp()), 0)::bigint AS rss
  FROM hive.worker;

-- dash_bee --
SELECT b.id, coalesce(b.config -> 'honey_jar' ->> 'name', b.config ->> 'honey_jar', b.name) AS jar,
       CASE WHEN jsonb_typeof(b.config #> '{scrubbing,profile}') = 'string' THEN b.config #>> '{scrubbing,profile}' END
           AS profile,
       CASE WHEN jsonb_typeof(b.config #> '{scrubbing,custom_rules}') = 'array'
            THEN jsonb_array_length(b.config #> '{scrubbing,custom_rules}') ELSE 0 END AS rules,
       t.complete, t.failed, t.cancelled, t.records_read, t.bytes_read
  FROM hive.bee b LEFT JOIN hive.tally t ON t.bee = b.id WHERE b.name = %(name)s AND b.origin <> 'gone';

-- dash_schedules --
SELECT s.name, s.spec, s.next_slot, s.enabled, s.missed FROM hive.schedule s WHERE s.bee = %(bee)s ORDER BY s.name;

-- dash_checkpoints --
SELECT s.name AS stream, j.name AS jar, c.slice, c.epoch, c.sealed_seq, c.landed_seq, c.updated_at, c.needs_full_read,
       c.held_deletes, c.sealed_cursor IS NOT NULL AS has_cursor
  FROM hive.checkpoint c JOIN hive.stream s ON s.id = c.stream JOIN hive.jar j ON j.id = c.jar
 WHERE c.bee = %(bee)s AND j.kind = 'continuous' ORDER BY s.name, c.slice LIMIT 200;

-- dash_pollen --
-- The last versions of what each stream of a bee looks like, newest first; of its snapshots only what the jar keeps.
SELECT s.name AS stream, p.version, p.columns, p.created_at
  FROM hive.stream s JOIN hive.jar j ON j.id = s.jar
 CROSS JOIN LATERAL (SELECT version, columns, created_at FROM hive.pollen
                      WHERE stream = s.id ORDER BY version DESC LIMIT 6) p
 WHERE s.bee = %(bee)s AND j.kind = 'continuous' ORDER BY s.name, p.version DESC LIMIT 300;

-- dash_failed --
SELECT f.id::text AS flight, f.finished_at, f.error FROM hive.flight f
 WHERE f.bee = %(bee)s AND f.state = 'failed' ORDER BY f.created_at DESC LIMIT 5;

-- dash_tasks --
SELECT t.kind, t.state, count(*) AS tasks, max(t.attempt) AS attempt, sum(t.crashes)::int AS crashes,
       (array_agg(t.last_error ORDER BY t.id DESC) FILTER (WHERE t.last_error IS NOT NULL))[1] AS error
  FROM hive.task t JOIN hive.flight f ON f.day = t.day AND f.id = t.flight WHERE f.id = %(flight)s
 GROUP BY t.kind, t.state ORDER BY array_position('{plan,collect,process}'::text[], t.kind), t.state;

-- dash_records --
-- Records of one stream in the order of their hashes, from behind `after` on: the order in which they are stored.
SELECT encode(h.key_hash, 'hex') AS place, h.record_key AS key, h.data, h.collected_at, h.marks
  FROM hive.honey h
 WHERE h.part = %(part)s AND h.jar = %(jar)s AND h.bee = %(bee)s AND h.stream = %(stream)s AND h.deleted_at IS NULL
   AND (%(after)s::bytea IS NULL OR h.key_hash > %(after)s::bytea)
 ORDER BY h.part, h.jar, h.bee, h.stream, h.key_hash LIMIT %(most)s;

-- dash_jar_streams --
SELECT s.id, s.bee AS bee_id, b.name AS bee, s.name AS stream, 'jars.' || quote_ident(s.view) AS view
  FROM hive.stream s JOIN hive.bee b ON b.id = s.bee WHERE s.jar = %(jar)s ORDER BY b.name, s.name LIMIT 500;

-- dash_jar_records --
-- Of how many live records one stream of a jar consists.
SELECT count(*) AS records FROM hive.honey
 WHERE part = %(part)s AND jar = %(jar)s AND bee = %(bee)s AND stream = %(stream)s AND deleted_at IS NULL;
