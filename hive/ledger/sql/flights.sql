-- create_flight --
-- The unique slot is the lock of schedulers: no row comes back when another one made this flight already. The first
-- task is hinted at once if its queue has room.
WITH now AS (
    SELECT clock_timestamp() AS at
), taken AS (
    INSERT INTO hive.slot (bee, slot_key, flight, outcome)
    VALUES (%(bee)s, %(slot_key)s, %(flight)s, 'flown')
    ON CONFLICT DO NOTHING
    RETURNING flight
), flown AS (
    INSERT INTO hive.flight (id, day, bee, slot_key, mode, full_refresh, state, jar, config_version, data_key)
    SELECT taken.flight, (now.at AT TIME ZONE 'UTC')::date, %(bee)s, %(slot_key)s, %(mode)s, %(full_refresh)s, 'queued',
           %(jar)s, %(config_version)s, %(data_key)s
      FROM taken, now
    RETURNING id, day
)
INSERT INTO hive.task (day, flight, bee, kind, queue, priority, available_at, hinted_at)
SELECT flown.day, flown.id, %(bee)s, 'plan', %(queue)s, %(priority)s, now.at + make_interval(secs => %(delay)s),
       CASE WHEN %(delay)s = 0 AND (SELECT count(*) FROM hive.task
                   WHERE queue = %(queue)s AND state = 'queued' AND hinted_at IS NOT NULL) < %(room)s
            THEN now.at END
  FROM flown, now
RETURNING day, id, flight, hinted_at IS NOT NULL AS hinted;

-- skip_slot --
-- A slot that the overlap rule leaves out is written down, so that it is skipped once and by everyone.
INSERT INTO hive.slot (bee, slot_key, outcome) VALUES (%(bee)s, %(slot_key)s, 'skipped') ON CONFLICT DO NOTHING;

-- open_flights --
SELECT count(*) AS open, count(*) FILTER (WHERE state = 'queued') AS waiting
  FROM hive.flight WHERE bee = %(bee)s AND mode = %(mode)s AND state IN ('queued', 'running');

-- totals --
-- Of a flight without open tasks; no row: it is open still, or closed already. Only a running task makes others, so what
-- is said here stays true.
SELECT f.bee, f.mode, f.jar, f.error AS flight_error, j.part,
       coalesce(b.rows, 0)::bigint AS read, coalesce(b.bytes, 0)::bigint AS bytes,
       coalesce(r.landed, 0)::bigint AS landed, coalesce(r.unchanged, 0)::bigint AS unchanged,
       coalesce(r.superseded, 0)::bigint AS superseded, coalesce(r.deleted, 0)::bigint AS deleted,
       coalesce(r.quarantined, 0)::bigint AS quarantined, t.error, t.dead
  FROM hive.flight f JOIN hive.jar j ON j.id = f.jar
 CROSS JOIN LATERAL (SELECT bool_or(state IN ('queued', 'running')) AS open, coalesce(bool_or(state = 'dead'), false) AS dead,
                            (array_agg(last_error ORDER BY id) FILTER (WHERE state = 'dead'))[1] AS error
                       FROM hive.task_{day} WHERE flight = f.id) t
 CROSS JOIN LATERAL (SELECT sum(rows) AS rows, sum(bytes) AS bytes FROM hive.batch_{day} WHERE flight = f.id) b
 CROSS JOIN LATERAL (SELECT sum(landed) AS landed, sum(unchanged) AS unchanged, sum(superseded) AS superseded,
                            sum(deleted) AS deleted, sum(quarantined) AS quarantined
                       FROM hive.receipt_{day} WHERE flight = f.id) r
 WHERE f.id = %(flight)s AND f.state IN ('queued', 'running') AND t.open IS NOT TRUE;

-- close_flight --
-- Two last landings may close at the same time; the second finds the flight closed, and nothing happens. The data key
-- goes with the flight: what was sealed under it cannot be read any more.
WITH closed AS (
    UPDATE hive.flight
       SET state = %(state)s, finished_at = clock_timestamp(), started_at = coalesce(started_at, clock_timestamp()),
           data_key = NULL, error = %(error)s,
           records_read = %(read)s, bytes_read = %(bytes)s, records_landed = %(landed)s, records_unchanged = %(unchanged)s,
           records_superseded = %(superseded)s, records_deleted = %(deleted)s, records_quarantined = %(quarantined)s
     WHERE id = %(flight)s AND state IN ('queued', 'running')
    RETURNING bee, jar
), outcome AS (
    UPDATE hive.bee b SET last_error = %(error)s, updated_at = clock_timestamp()
      FROM closed WHERE b.id = closed.bee AND b.last_error IS DISTINCT FROM %(error)s
), changed AS (
    UPDATE hive.jar j SET updated_at = clock_timestamp() FROM closed WHERE j.id = closed.jar
)
SELECT bee, set_config('synchronous_commit', 'off', true) AS commit FROM closed;

-- closable_flights --
-- What a worker left behind that died between its landing and its closing.
SELECT f.id AS flight, f.day FROM hive.flight f
 WHERE f.state IN ('queued', 'running')
   AND NOT EXISTS (SELECT FROM hive.task t WHERE t.day = f.day AND t.flight = f.id AND t.state IN ('queued', 'running'))
 LIMIT 100;
