-- beat --
INSERT INTO hive.worker (id, host, pid, queues, alive_until, rss)
VALUES (%(id)s, %(host)s, %(pid)s, %(queues)s, clock_timestamp() + make_interval(secs => %(lease)s), %(rss)s)
ON CONFLICT (id) DO UPDATE SET beat_at = clock_timestamp(), alive_until = excluded.alive_until, rss = excluded.rss;

-- note_pools --
UPDATE hive.worker SET pools = %(pools)s WHERE id = %(id)s;

-- release_strays --
-- Claims whose answer never came: this worker owns the task and does not know of it.
UPDATE hive.task SET state = 'queued', attempt = attempt - 1, owner = NULL, hinted_at = NULL
 WHERE owner = %(owner)s AND state = 'running' AND NOT id = ANY (%(working)s)
   AND started_at < clock_timestamp() - make_interval(secs => %(lease)s)
RETURNING id;

-- bury --
-- A process that its parent saw die: its tasks need not wait for the lease. Its own session may hold its row for a
-- while yet; the janitor, which waits for nobody, buries it then.
UPDATE hive.worker SET alive_until = '-infinity'
 WHERE id = (SELECT id FROM hive.worker WHERE id = %(id)s FOR UPDATE SKIP LOCKED);

-- note_cause --
-- Why a process is killed in a moment, on the tasks that it has in hand: of this attempt, and how often they stalled. A
-- row that somebody holds is not waited for.
UPDATE hive.task t
   SET last_error = %(cause)s || jsonb_build_object('attempt', t.attempt, 'stalls',
                        CASE WHEN %(stalls)s > 0 THEN coalesce((t.last_error ->> 'stalls')::int, 0) + 1 ELSE 0 END)
 WHERE (t.day, t.id) IN (SELECT day, id FROM hive.task WHERE owner = %(owner)s AND state = 'running' FOR UPDATE SKIP LOCKED);

-- note_stall --
-- The same for a task that was taken back from it in the meantime: only that it stalled once more.
UPDATE hive.task
   SET last_error = coalesce(last_error, '{}') || jsonb_build_object('stalls', coalesce((last_error ->> 'stalls')::int, 0) + 1)
 WHERE id = %(task)s AND state IN ('queued', 'running') AND owner IS DISTINCT FROM %(owner)s;

-- say_goodbye --
-- A process that ends in good order holds nothing any more.
DELETE FROM hive.worker w WHERE id = %(id)s AND NOT EXISTS (SELECT FROM hive.task WHERE owner = w.id AND state = 'running');

-- workers_of_host --
SELECT id, pid FROM hive.worker WHERE host = %(host)s AND alive_until > clock_timestamp();

-- grant_grace --
-- The janitor itself was away for longer than a lease: heartbeats may have been as unable to come through as it was.
UPDATE hive.worker SET alive_until = clock_timestamp() + make_interval(secs => %(lease)s)
 WHERE id IN (SELECT id FROM hive.worker
               WHERE alive_until > clock_timestamp() - make_interval(secs => %(away)s)
                 AND alive_until < clock_timestamp() + make_interval(secs => %(lease)s)
                 FOR UPDATE SKIP LOCKED);

-- forget_workers --
DELETE FROM hive.worker w WHERE alive_until < clock_timestamp() - interval '10 minutes'
   AND NOT EXISTS (SELECT FROM hive.task WHERE owner = w.id AND state = 'running')
   AND w.id IN (SELECT id FROM hive.worker WHERE alive_until < clock_timestamp() - interval '10 minutes' FOR UPDATE SKIP LOCKED);

-- clock --
SELECT clock_timestamp() AS now, (clock_timestamp() AT TIME ZONE 'UTC')::date AS today;
