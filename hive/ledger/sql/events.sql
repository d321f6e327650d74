-- one_at_a_time --
-- Whoever tells the listeners; the others have nothing to do meanwhile. One that stands still in the middle loses its
-- connection, and with it its turn.
SELECT pg_try_advisory_xact_lock(7245800000001) AS mine,
       set_config('idle_in_transaction_session_timeout', '10s', true) AS bound;

-- tell_listeners --
-- Each event reaches each of its listeners once: it is marked in the same step. `after` counts complete flights, `jar`
-- what changed something in it, whatever became of the flight.
WITH taken AS (
    SELECT day, id, kind, bee, body, created_at FROM hive.event
     WHERE handled_at IS NULL ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED
), handled AS (
    UPDATE hive.event e SET handled_at = clock_timestamp() FROM taken t WHERE e.day = t.day AND e.id = t.id
), hit AS (
    SELECT l.bee, l.kind, l.subject, max(t.id) AS event, min(t.created_at) AS first_at, max(t.created_at) AS last_at
      FROM taken t JOIN hive.listener l
        ON (t.kind = 'closed' AND l.kind = 'after' AND l.subject = t.body ->> 'bee' AND t.body ->> 'state' = 'complete')
        OR (t.kind = 'closed' AND l.kind = 'jar' AND l.subject = t.body ->> 'jar' AND (t.body ->> 'changed')::bool)
        OR (t.kind = l.kind AND l.kind IN ('file', 'folder', 'webhook') AND l.bee = t.bee)
     GROUP BY l.bee, l.kind, l.subject
), told AS (
    UPDATE hive.listener l
       SET event = greatest(l.event, hit.event), first_at = coalesce(l.first_at, hit.first_at),
           last_at = greatest(l.last_at, hit.last_at)
      FROM hit WHERE l.bee = hit.bee AND l.kind = hit.kind AND l.subject = hit.subject
)
SELECT count(*) AS events FROM taken;

-- tell_changed --
-- A jar that changed without a flight: quarantined records that landed after all.
INSERT INTO hive.event (day, kind, bee, flight, body)
SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date, 'closed', b.id, %(flight)s,
       jsonb_build_object('bee', b.name, 'jar', j.name, 'state', 'retried', 'changed', true)
  FROM hive.bee b, hive.jar j
 WHERE b.id = %(bee)s AND j.id = %(jar)s
   AND EXISTS (SELECT FROM hive.listener l WHERE l.kind = 'jar' AND l.subject = j.name);

-- waiting_listeners --
-- Bees that heard something, with all that they listen to. `quiet`, `waited`: seconds since the newest and the oldest.
SELECT b.id, b.name, b.tenant, b.queue, b.config_version,
       coalesce(b.config -> 'honey_jar' ->> 'name', b.config ->> 'honey_jar', b.name) AS jar,
       coalesce((b.config ->> 'debounce')::float, 0) AS debounce, coalesce(b.config ->> 'overlap', 'skip') AS overlap,
       jsonb_array_length(coalesce(nullif(b.config -> 'after' -> 'all', 'null'), '[]')) > 0 AS needs_all,
       max(l.event) AS event,
       count(*) FILTER (WHERE l.kind = 'after' AND l.event IS NULL)::int AS silent,
       count(*) FILTER (WHERE l.kind = 'after' AND l.event IS NOT NULL)::int AS after_told,
       count(*) FILTER (WHERE l.kind <> 'after' AND l.event IS NOT NULL)::int AS on_told,
       extract(epoch FROM coalesce(%(now)s, clock_timestamp()) - max(l.last_at))::float AS quiet,
       extract(epoch FROM coalesce(%(now)s, clock_timestamp()) - min(l.first_at))::float AS waited,
       EXISTS (SELECT FROM hive.flight f WHERE f.bee = b.id AND f.mode = 'continuous' AND f.state IN ('queued', 'running'))
           AS flies
  FROM hive.bee b JOIN hive.listener l ON l.bee = b.id
 WHERE b.enabled AND b.paused_at IS NULL
   AND b.id IN (SELECT bee FROM hive.listener WHERE event IS NOT NULL)
 GROUP BY b.id;

-- answered --
UPDATE hive.listener SET event = NULL, first_at = NULL, last_at = NULL WHERE bee = ANY (%(bees)s) AND event IS NOT NULL;

-- empty_inbox --
-- What only makes a bee fly is not kept; its number is, so that it counts once.
-- Where messages are the records, they wait for the bee that reads them.
UPDATE hive.inbox SET body = '', slot_key = %(slot_key)s WHERE bee = %(bee)s AND slot_key IS NULL
   AND NOT EXISTS (SELECT FROM hive.listener WHERE bee = %(bee)s AND kind = 'webhook' AND subject = 'records');

-- waiting_messages --
-- The oldest messages after a number: at most `most` of them, and `bytes` of bodies, but always one.
SELECT number, event_id, received_at, body
  FROM (SELECT number, event_id, received_at, body,
               sum(octet_length(body)) OVER (ORDER BY number) - octet_length(body) AS before
          FROM (SELECT number, event_id, received_at, body FROM hive.inbox
                 WHERE bee = %(bee)s AND slot_key IS NULL AND number > %(after)s
                 ORDER BY number LIMIT %(most)s) few) summed
 WHERE before < %(bytes)s
 ORDER BY number;

-- take_messages --
-- Their records are sealed in a batch: the bodies go, the ids stay, so that each message counts once.
UPDATE hive.inbox SET body = '', slot_key = 'sealed'
 WHERE bee = %(bee)s AND slot_key IS NULL AND number = ANY (%(numbers)s);

-- forget_inbox --
-- What waits stays for as long as its bee is there, however long that is paused or disabled.
DELETE FROM hive.inbox i
 WHERE received_at < clock_timestamp() - make_interval(days => %(days)s)
   AND (slot_key IS NOT NULL
        OR NOT EXISTS (SELECT FROM hive.listener l WHERE l.bee = i.bee AND l.kind = 'webhook'));

-- step_aside --
-- A message without an id that has waited for longer than its body counts: another one with that body is no second
-- delivery, and must not take its place.
UPDATE hive.inbox SET event_id = event_id || ':' || number
 WHERE bee = %(bee)s AND event_id = %(event_id)s AND slot_key IS NULL
   AND received_at < clock_timestamp() - make_interval(secs => %(window)s::float8);

-- receive --
-- No row: this message was here before. `window`: seconds after which the same id is another message; null: never.
WITH inbox AS (
    INSERT INTO hive.inbox AS i (bee, event_id, body) VALUES (%(bee)s, %(event_id)s, %(body)s)
    ON CONFLICT (bee, event_id) DO UPDATE
       SET body = excluded.body, received_at = excluded.received_at, slot_key = NULL, number = excluded.number
     WHERE i.received_at < clock_timestamp() - make_interval(secs => %(window)s::float8)
    RETURNING bee
)
INSERT INTO hive.event (day, kind, bee) SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date, 'webhook', bee FROM inbox
RETURNING id;

-- file_listeners --
SELECT l.bee, l.subject, coalesce(l.mark, -1) AS mark FROM hive.listener l JOIN hive.bee b ON b.id = l.bee
 WHERE l.kind = 'file' AND b.enabled AND b.paused_at IS NULL;

-- files_arrived --
-- Of several schedulers that see the same files one moves the mark, and that one says so.
WITH moved AS (
    UPDATE hive.listener SET mark = %(mark)s
     WHERE bee = %(bee)s AND kind = 'file' AND subject = %(subject)s AND coalesce(mark, -1) < %(mark)s
    RETURNING bee
)
INSERT INTO hive.event (day, kind, bee) SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date, 'file', bee FROM moved
RETURNING id;

-- folder_listeners --
SELECT l.bee, l.subject FROM hive.listener l JOIN hive.bee b ON b.id = l.bee
 WHERE l.kind = 'folder' AND b.enabled AND b.paused_at IS NULL ORDER BY l.bee, l.subject;

-- folder_changed --
WITH moved AS (
    UPDATE hive.listener SET mark = %(mark)s
     WHERE bee = %(bee)s AND kind = 'folder' AND subject = %(subject)s AND coalesce(mark, -1) < %(mark)s
    RETURNING bee
)
INSERT INTO hive.event (day, kind, bee) SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date, 'folder', bee FROM moved
RETURNING id;

-- listen --
-- Listeners of some bees, as their configuration has them. One that stays keeps what it heard.
WITH wanted AS (
    SELECT * FROM unnest(%(bees)s::int[], %(kinds)s::text[], %(subjects)s::text[]) AS w(bee, kind, subject)
), gone AS (
    DELETE FROM hive.listener l WHERE l.bee = ANY (%(all)s)
       AND NOT EXISTS (SELECT FROM wanted w WHERE (w.bee, w.kind, w.subject) = (l.bee, l.kind, l.subject))
)
INSERT INTO hive.listener (bee, kind, subject) SELECT bee, kind, subject FROM wanted ON CONFLICT DO NOTHING;
