-- waiting_queues --
-- Queues in which a due task waits for its hint. Reading whose source asked for patience is looked at again a second
-- later, as after a hint that came too early, but nobody is told of it: a wait may be long. It is due in no figure then,
-- and yet is read soon after the wait is over, however it ends.
WITH early AS (
    SELECT t.day, t.id FROM hive.task t
     WHERE EXISTS (SELECT FROM hive.bee WHERE retry_at > clock_timestamp())
       AND t.kind <> 'process' AND t.state = 'queued' AND t.hinted_at IS NULL AND t.available_at <= clock_timestamp()
       AND (t.bee IN (SELECT id FROM hive.bee WHERE retry_at > clock_timestamp())) IS TRUE  -- a set, hashed once
     LIMIT 1000 FOR UPDATE OF t SKIP LOCKED
), later AS (
    UPDATE hive.task t SET available_at = clock_timestamp() + interval '1 second'
      FROM early e WHERE t.day = e.day AND t.id = e.id
)
SELECT DISTINCT queue FROM hive.task WHERE state = 'queued' AND hinted_at IS NULL AND available_at <= clock_timestamp();

-- hint_next --
-- Bee by bee, beginning after the bee whose turn was last, and to none more than a quarter of the room: a bee with a
-- million tasks delays nobody. What is scheduled takes no room of what people ask for. Reading whose source asked for
-- patience needs no hint: see `waiting_queues`.
WITH RECURSIVE hinted AS (
    SELECT bee, count(*) AS outstanding FROM hive.task
     WHERE queue = %(queue)s AND state = 'queued' AND hinted_at IS NOT NULL AND priority <= %(priority)s
     GROUP BY bee
), bees AS (
    (SELECT t.bee FROM hive.task t
      WHERE t.queue = %(queue)s AND t.priority = %(priority)s AND t.state = 'queued' AND t.hinted_at IS NULL AND t.bee > %(turn)s
      ORDER BY t.bee LIMIT 1)
    UNION ALL
    SELECT (SELECT t.bee FROM hive.task t
             WHERE t.queue = %(queue)s AND t.priority = %(priority)s AND t.state = 'queued' AND t.hinted_at IS NULL AND t.bee > b.bee
             ORDER BY t.bee LIMIT 1)
      FROM bees b WHERE b.bee IS NOT NULL
), first AS (
    SELECT f.day, f.id FROM bees b CROSS JOIN LATERAL (
        SELECT coalesce((SELECT w.retry_at > clock_timestamp() FROM hive.bee w WHERE w.id = b.bee), false) AS patient
    ) p CROSS JOIN LATERAL (
        SELECT t.day, t.id FROM hive.task t
         WHERE t.queue = %(queue)s AND t.priority = %(priority)s AND t.state = 'queued' AND t.hinted_at IS NULL AND t.bee = b.bee
           AND t.available_at <= clock_timestamp()
           AND (t.kind = 'process' OR NOT p.patient)
           AND NOT EXISTS (SELECT FROM hive.lease l WHERE l.checkpoint = t.checkpoint AND t.kind = 'collect'
                              AND l.task IS NOT NULL AND l.task <> t.id)
         ORDER BY t.id LIMIT 1
    ) f
     WHERE NOT EXISTS (SELECT FROM hinted h WHERE h.bee = b.bee AND h.outstanding >= (%(room)s + 3) / 4)
    LIMIT greatest(0, %(room)s - (SELECT coalesce(sum(outstanding), 0)::int FROM hinted))
), pick AS (
    SELECT t.day, t.id FROM hive.task t JOIN first USING (day, id)
     WHERE t.state = 'queued' AND t.hinted_at IS NULL FOR UPDATE OF t SKIP LOCKED
)
UPDATE hive.task t SET hinted_at = clock_timestamp() FROM pick WHERE t.day = pick.day AND t.id = pick.id
RETURNING t.day, t.id, t.kind, t.queue, t.flight, t.parent, t.priority, t.bee;

-- read_turn --
-- What is hinted after it waits for no disk: a hint that a crash takes back is given again, and may come twice.
SELECT turn, set_config('synchronous_commit', 'off', true) AS commit FROM hive.queue WHERE name = %(queue)s;

-- move_turn --
-- Best effort: a turn that two move at once is only a little unfair.
WITH first AS (
    INSERT INTO hive.queue (name, turn) VALUES (%(queue)s, %(turn)s) ON CONFLICT DO NOTHING
)
UPDATE hive.queue SET turn = %(turn)s
 WHERE name = (SELECT name FROM hive.queue WHERE name = %(queue)s FOR UPDATE SKIP LOCKED);

-- hint_again --
-- Hints that got lost: the broker was emptied, or a worker died with the message in its hand.
WITH pick AS (
    SELECT t.day, t.id FROM hive.task t
     WHERE t.queue = %(queue)s AND t.state = 'queued' AND t.hinted_at < clock_timestamp() - make_interval(secs => %(age)s)
     ORDER BY t.priority, t.id LIMIT %(room)s FOR UPDATE SKIP LOCKED
)
UPDATE hive.task t SET hinted_at = clock_timestamp() FROM pick WHERE t.day = pick.day AND t.id = pick.id
RETURNING t.day, t.id, t.kind, t.queue, t.flight, t.parent, t.priority, t.bee;

-- hinted_queues --
SELECT queue, count(*) AS outstanding, extract(epoch FROM clock_timestamp() - min(hinted_at))::float AS age
  FROM hive.task WHERE state = 'queued' AND hinted_at IS NOT NULL GROUP BY queue;
