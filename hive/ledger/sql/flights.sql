-- create_flights --
-- The unique slot is the lock of schedulers: no row comes back for one whose flight another one made already. First
-- tasks are hinted at once as far as their queue has room; those that people ask for have one of their own, which
-- nothing scheduled takes, nor a lost hint of it. The limit leaves nothing out: with it a plan that is kept for any
-- number of flights looks as cheap as a new one for each, which would cost as much as making a flight. A kept plan may
-- take time with the square of their number, so many are made some at a time.
WITH now AS (
    SELECT clock_timestamp() AS at
), wanted AS (
    SELECT * FROM unnest(%(bees)s::int[], %(slot_keys)s::text[], %(flights)s::uuid[], %(modes)s::text[], %(jars)s::int[],
                         %(config_versions)s::bigint[], %(data_keys)s::bytea[], %(queues)s::text[], %(delays)s::float8[])
        WITH ORDINALITY AS w(bee, slot_key, flight, mode, jar, config_version, data_key, queue, delay, n)
     LIMIT cardinality(%(bees)s::int[])
), taken AS (
    INSERT INTO hive.slot (bee, slot_key, flight, outcome)
    SELECT bee, slot_key, flight, 'flown' FROM wanted ORDER BY bee, slot_key
    ON CONFLICT DO NOTHING
    RETURNING flight
), room AS (
    SELECT q.queue, %(room)s - (SELECT count(*) FROM hive.task t
                                 WHERE t.queue = q.queue AND t.state = 'queued' AND t.hinted_at IS NOT NULL
                                   AND t.priority <= %(priority)s) AS free
      FROM (SELECT DISTINCT queue FROM wanted) q
), flown AS (
    INSERT INTO hive.flight (id, day, bee, slot_key, mode, full_refresh, state, jar, config_version, data_key)
    SELECT w.flight, (now.at AT TIME ZONE 'UTC')::date, w.bee, w.slot_key, w.mode, %(full_refresh)s, 'queued', w.jar,
           w.config_version, w.data_key
      FROM wanted w CROSS JOIN now WHERE w.flight IN (SELECT flight FROM taken)
    RETURNING id
), lined AS (
    SELECT w.*, row_number() OVER (PARTITION BY w.queue, w.delay = 0 ORDER BY w.n) AS place
      FROM wanted w WHERE w.flight IN (SELECT id FROM flown)
)
INSERT INTO hive.task (day, flight, bee, kind, queue, priority, available_at, hinted_at)
SELECT (now.at AT TIME ZONE 'UTC')::date, l.flight, l.bee, 'plan', l.queue, %(priority)s,
       now.at + make_interval(secs => l.delay), CASE WHEN l.delay = 0 AND l.place <= r.free THEN now.at END
  FROM lined l JOIN room r USING (queue) CROSS JOIN now ORDER BY l.n
RETURNING day, id, flight, queue, hinted_at IS NOT NULL AS hinted;

-- skip_slots --
-- A slot that is left out is written down with the reason, so that it is left out once and by everyone.
INSERT INTO hive.slot (bee, slot_key, outcome)
SELECT s.bee, s.slot_key, 'skipped:' || s.why
  FROM unnest(%(bees)s::int[], %(slot_keys)s::text[], %(whys)s::text[]) AS s(bee, slot_key, why)
 ORDER BY s.bee, s.slot_key ON CONFLICT DO NOTHING;

-- due_schedules --
-- After `past` on, in order of slot and number: a schedule that cannot be read stays, and keeps nobody waiting.
SELECT s.id AS schedule, s.name AS schedule_name, s.spec::text AS spec, s.next_slot, s.settled,
       b.id, b.name, b.tenant, b.queue, b.config_version,
       coalesce(b.config -> 'honey_jar' ->> 'name', b.config ->> 'honey_jar', b.name) AS jar,
       coalesce(%(now)s, clock_timestamp()) AS now
  FROM hive.schedule s JOIN hive.bee b ON b.id = s.bee
 WHERE s.enabled AND b.enabled AND b.paused_at IS NULL AND s.next_slot <= coalesce(%(now)s, clock_timestamp())
   AND (%(past_slot)s::timestamptz IS NULL OR (s.next_slot, s.id) > (%(past_slot)s::timestamptz, %(past)s::bigint))
 ORDER BY s.next_slot, s.id LIMIT %(most)s FOR UPDATE OF s SKIP LOCKED;

-- settled_ahead --
-- Settled later than now: by a clock that ran ahead and was set back since.
SELECT s.id AS schedule, s.name AS schedule_name, s.spec::text AS spec, s.next_slot, s.enabled, s.missed, s.settled,
       s.bee, b.name, coalesce(%(now)s, clock_timestamp()) AS now
  FROM hive.schedule s JOIN hive.bee b ON b.id = s.bee
 WHERE s.settled > coalesce(%(now)s, now()) + %(ahead)s::interval
 ORDER BY s.id LIMIT %(most)s FOR UPDATE OF s SKIP LOCKED;

-- reopen_slots --
-- Slots of a schedule that were left out before they came. The instant of a key is in UTC, so text tells the order.
DELETE FROM hive.slot
 WHERE bee = %(bee)s AND flight IS NULL AND starts_with(slot_key, %(prefix)s) AND slot_key > %(since)s::text COLLATE "C";

-- move_schedules --
UPDATE hive.schedule s
   SET next_slot = coalesce(m.slot, s.next_slot), enabled = m.slot IS NOT NULL, missed = s.missed + m.missed,
       settled = m.settled
  FROM unnest(%(ids)s::bigint[], %(slots)s::timestamptz[], %(missed)s::int[], %(settled)s::timestamptz[])
       AS m(id, slot, missed, settled)
 WHERE s.id = m.id;

-- set_schedules --
-- Schedules of some bees, as their configuration has them; one that did not change keeps its next slot. One that is due
-- just now stays due: the tick settles it by the new rhythm.
WITH wanted AS (
    SELECT * FROM unnest(%(bees)s::int[], %(names)s::text[], %(specs)s::jsonb[], %(slots)s::timestamptz[])
        AS w(bee, name, spec, slot)
), gone AS (
    DELETE FROM hive.schedule s WHERE s.bee = ANY (%(all)s)
       AND NOT EXISTS (SELECT FROM wanted w WHERE w.bee = s.bee AND w.name = s.name)
)
INSERT INTO hive.schedule (bee, name, spec, next_slot, enabled, settled)
SELECT bee, name, spec, coalesce(slot, %(now)s), slot IS NOT NULL, %(now)s FROM wanted
ON CONFLICT (bee, name) DO UPDATE
   SET spec = excluded.spec, enabled = excluded.enabled OR (schedule.enabled AND schedule.next_slot <= %(now)s),
       settled = CASE WHEN schedule.enabled AND schedule.next_slot <= %(now)s THEN schedule.settled ELSE %(now)s END,
       next_slot = CASE WHEN schedule.enabled AND schedule.next_slot <= %(now)s THEN schedule.next_slot
                        ELSE excluded.next_slot END
 WHERE schedule.spec IS DISTINCT FROM excluded.spec;

-- next_wake --
-- Seconds until the next slot; no row: none comes.
SELECT extract(epoch FROM s.next_slot - clock_timestamp())::float AS seconds FROM hive.schedule s
 WHERE s.enabled AND s.next_slot > clock_timestamp() ORDER BY s.next_slot LIMIT 1;

-- open_flights --
-- How many flights of each bee and mode are under way.
SELECT bee, mode, count(*)::int AS open FROM hive.flight
 WHERE bee = ANY (%(bees)s) AND state IN ('queued', 'running') GROUP BY bee, mode;

-- totals --
-- Of a flight without open tasks; no row: it is open still, or closed already. Only a running task makes others, so what
-- is said here stays true. `scrubbed`: with what came out of quarantine while the flight was open.
SELECT f.bee, f.mode, f.jar, f.error AS flight_error, j.part,
       coalesce(b.rows, 0)::bigint AS read, coalesce(b.bytes, 0)::bigint AS bytes,
       coalesce(r.landed, 0)::bigint AS landed, coalesce(r.unchanged, 0)::bigint AS unchanged,
       coalesce(r.superseded, 0)::bigint AS superseded, coalesce(r.deleted, 0)::bigint AS deleted,
       coalesce(r.quarantined, 0)::bigint AS quarantined, coalesce(r.organizations, 0)::bigint AS organizations,
       coalesce(r.missed, 0)::bigint AS missed,
       EXISTS (SELECT FROM hive.checkpoint c WHERE c.bee = f.bee AND c.jar = f.jar AND c.landed_seq >= c.whole_to) AS whole,
       EXISTS (SELECT FROM hive.checkpoint c JOIN hive.section_read s ON s.checkpoint = c.id
                WHERE c.bee = f.bee AND c.jar = f.jar AND s.to_seq IS NOT NULL) AS sections,
       s.scrubbed::text AS scrubbed, t.error, t.dead, coalesce(t.retries, 0)::bigint AS retries
  FROM hive.flight f JOIN hive.jar j ON j.id = f.jar
 CROSS JOIN LATERAL (SELECT bool_or(state IN ('queued', 'running')) AS open, coalesce(bool_or(state = 'dead'), false) AS dead,
                            (array_agg(last_error ORDER BY id) FILTER (WHERE state = 'dead'))[1] AS error,
                            sum(greatest(attempt - 1, 0)) AS retries
                       FROM hive.task_{day} WHERE flight = f.id) t
 CROSS JOIN LATERAL (SELECT sum(rows) AS rows, sum(bytes) AS bytes FROM hive.batch_{day} WHERE flight = f.id) b
 CROSS JOIN LATERAL (SELECT sum(landed) AS landed, sum(unchanged) AS unchanged, sum(superseded) AS superseded,
                            sum(deleted) AS deleted, sum(quarantined) AS quarantined,
                            sum(deleted) FILTER (WHERE row_from < 0) AS missed,
                            sum(landed) FILTER (WHERE checkpoint IN (
                                SELECT c.id FROM hive.checkpoint c JOIN hive.stream s ON s.id = c.stream
                                 WHERE c.bee = f.bee AND s.name = ANY (%(organizations)s))) AS organizations
                       FROM hive.receipt_{day} WHERE flight = f.id) r
 CROSS JOIN LATERAL (SELECT jsonb_agg(to_jsonb(e) ORDER BY e.field, e.kind, e.action) AS scrubbed FROM (
                          SELECT CASE WHEN d.place > %(fields)s THEN '*' ELSE d.field END AS field, d.kind, d.action,
                                 sum(d.count)::bigint AS count
                            FROM (SELECT c.field, c.kind, c.action, sum(c.count)::bigint AS count,
                                         dense_rank() OVER (ORDER BY c.field = '*', c.field) AS place
                                    FROM (SELECT scrubbed FROM hive.receipt_{day} WHERE flight = f.id
                                           UNION ALL SELECT f.scrubbed) p
                                   CROSS JOIN LATERAL jsonb_to_recordset(p.scrubbed)
                                           AS c(field text, kind text, action text, count bigint)
                                   WHERE p.scrubbed IS NOT NULL GROUP BY 1, 2, 3) d
                           GROUP BY 1, 2, 3) e) s
 WHERE f.id = %(flight)s AND f.state IN ('queued', 'running') AND t.open IS NOT TRUE;

-- close_flight --
-- Two last landings may close at the same time; the second finds the flight closed, and nothing happens. The data key
-- goes with the flight: what was sealed under it cannot be read any more. Where somebody listens, the event is part of it. The
-- bee's totals take it up in the same step, so that a flight counts once, also when it is forgotten.
WITH closed AS (
    UPDATE hive.flight
       SET state = %(state)s, finished_at = clock_timestamp(), started_at = coalesce(started_at, clock_timestamp()),
           data_key = NULL, error = %(error)s,
           records_read = %(read)s, bytes_read = %(bytes)s, records_landed = %(landed)s, records_unchanged = %(unchanged)s,
           records_superseded = %(superseded)s, records_deleted = %(deleted)s, records_quarantined = %(quarantined)s,
           scrubbed = %(scrubbed)s::jsonb
     WHERE id = %(flight)s AND state IN ('queued', 'running')
    RETURNING bee, jar, started_at, finished_at,
              greatest(extract(epoch FROM finished_at - started_at)::float8, 0) AS seconds
), counted AS (
    INSERT INTO hive.tally AS t (bee, bee_type, complete, failed, cancelled, records_read, records_landed,
                                 records_unchanged, records_superseded, records_deleted, records_quarantined, bytes_read,
                                 organizations, retries, seconds, durations, last_state, last_seconds, last_at, success_at,
                                 current_at)
    SELECT c.bee, replace(b.queue, 'bees.', ''), (%(state)s = 'complete')::int, (%(state)s = 'failed')::int,
           (%(state)s = 'cancelled')::int, %(read)s, %(landed)s, %(unchanged)s, %(superseded)s, %(deleted)s,
           %(quarantined)s, %(bytes)s, %(organizations)s, %(retries)s, c.seconds,
           ARRAY(SELECT (c.seconds <= d.bound)::int
                   FROM unnest(%(durations)s::float8[]) WITH ORDINALITY AS d(bound, n) ORDER BY d.n),
           %(state)s, c.seconds, c.finished_at, CASE WHEN %(state)s = 'complete' THEN c.finished_at END,
           CASE WHEN %(state)s = 'complete' THEN c.started_at END
      FROM closed c JOIN hive.bee b ON b.id = c.bee
    ON CONFLICT (bee) DO UPDATE
       SET bee_type = excluded.bee_type, complete = t.complete + excluded.complete, failed = t.failed + excluded.failed,
           cancelled = t.cancelled + excluded.cancelled, records_read = t.records_read + excluded.records_read,
           records_landed = t.records_landed + excluded.records_landed,
           records_unchanged = t.records_unchanged + excluded.records_unchanged,
           records_superseded = t.records_superseded + excluded.records_superseded,
           records_deleted = t.records_deleted + excluded.records_deleted,
           records_quarantined = t.records_quarantined + excluded.records_quarantined,
           bytes_read = t.bytes_read + excluded.bytes_read, organizations = t.organizations + excluded.organizations,
           retries = t.retries + excluded.retries, seconds = t.seconds + excluded.seconds,
           durations = ARRAY(SELECT d.before + d.more
                               FROM unnest(t.durations, excluded.durations) WITH ORDINALITY AS d(before, more, n)
                              ORDER BY d.n),
           last_state = excluded.last_state, last_seconds = excluded.last_seconds, last_at = excluded.last_at,
           success_at = coalesce(excluded.success_at, t.success_at),
           current_at = coalesce(excluded.current_at, t.current_at)
), faults AS (
    INSERT INTO hive.fault AS t (bee, code, count)
    SELECT c.bee, CASE WHEN e.code ~ '^[a-z][a-z0-9_]{0,62}$'
                        AND (EXISTS (SELECT FROM hive.fault WHERE bee = c.bee AND code = e.code)
                             OR (SELECT count(*) FROM hive.fault WHERE bee = c.bee) < %(codes)s)
                       THEN e.code ELSE 'other' END, 1
      FROM closed c CROSS JOIN (SELECT %(error)s::jsonb ->> 'code' AS code) e WHERE %(state)s = 'failed'
    ON CONFLICT (bee, code) DO UPDATE SET count = t.count + 1
), taken_out AS (
    INSERT INTO hive.taken_out AS t (bee, kind, action, count)
    SELECT c.bee, s.kind, s.action, sum(s.count)
      FROM closed c CROSS JOIN LATERAL jsonb_to_recordset(%(scrubbed)s::jsonb) AS s(kind text, action text, count bigint)
     GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (bee, kind, action) DO UPDATE SET count = t.count + excluded.count
), outcome AS (
    UPDATE hive.bee b SET last_error = %(error)s, updated_at = clock_timestamp()
      FROM closed WHERE b.id = closed.bee AND b.last_error IS DISTINCT FROM %(error)s
), changed AS (
    UPDATE hive.jar j SET updated_at = clock_timestamp() FROM closed WHERE j.id = closed.jar
), told AS (
    INSERT INTO hive.event (day, kind, bee, flight, body)
    SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date, 'closed', c.bee, %(flight)s,
           jsonb_build_object('bee', b.name, 'jar', j.name, 'state', %(state)s::text, 'changed', %(changed)s::bool)
      FROM closed c JOIN hive.bee b ON b.id = c.bee JOIN hive.jar j ON j.id = c.jar
     WHERE EXISTS (SELECT FROM hive.listener l WHERE l.kind = 'after' AND l.subject = b.name AND %(state)s = 'complete')
        OR EXISTS (SELECT FROM hive.listener l WHERE l.kind = 'jar' AND l.subject = j.name AND %(changed)s)
)
SELECT c.bee, b.name, c.seconds, set_config('synchronous_commit', 'off', true) AS commit
  FROM closed c JOIN hive.bee b ON b.id = c.bee;

-- count_taken_out --
-- Of records that landed after their flight was closed.
INSERT INTO hive.taken_out AS t (bee, kind, action, count)
SELECT %(bee)s, s.kind, s.action, sum(s.count)
  FROM jsonb_to_recordset(%(scrubbed)s::jsonb) AS s(kind text, action text, count bigint)
 GROUP BY s.kind, s.action ORDER BY s.kind, s.action
ON CONFLICT (bee, kind, action) DO UPDATE SET count = t.count + excluded.count;

-- closable_flights --
-- What a worker left behind that died between its landing and its closing.
SELECT f.id AS flight, f.day FROM hive.flight f
 WHERE f.state IN ('queued', 'running')
   AND NOT EXISTS (SELECT FROM hive.task t WHERE t.day = f.day AND t.flight = f.id AND t.state IN ('queued', 'running'))
 LIMIT 100;

-- forget_flights --
-- Some of the oldest, with their slots. The last one of a bee stays, and so does one whose records lie in quarantine.
WITH old AS (
    SELECT f.id, f.bee, f.slot_key FROM hive.flight f
     WHERE f.day < (clock_timestamp() AT TIME ZONE 'UTC')::date - %(days)s AND f.state NOT IN ('queued', 'running')
       AND EXISTS (SELECT FROM hive.flight n WHERE n.bee = f.bee AND n.created_at > f.created_at)
       AND NOT EXISTS (SELECT FROM hive.quarantine q WHERE q.flight = f.id AND q.state = 'open')
     ORDER BY f.day LIMIT 20000 FOR UPDATE OF f SKIP LOCKED
), slots AS (
    DELETE FROM hive.slot s USING old WHERE s.bee = old.bee AND s.slot_key = old.slot_key
)
DELETE FROM hive.flight f USING old WHERE f.id = old.id;

-- forget_slots --
-- Those that were left out.
DELETE FROM hive.slot WHERE (bee, slot_key) IN (
    SELECT bee, slot_key FROM hive.slot
     WHERE flight IS NULL AND created_at < clock_timestamp() - make_interval(days => %(days)s)
     ORDER BY created_at LIMIT 20000
);
