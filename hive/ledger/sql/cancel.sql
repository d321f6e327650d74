-- stop_reading --
-- The reading tasks of a flight end, whoever runs them: a leg in the air finds its task gone when it seals its next batch.
-- To be repeated while `still_reads`, whether rows come or not: a task whose lock this waited for may be done since and
-- have made another one before it let go, which only the next statement sees.
UPDATE hive.task_{day} SET state = 'done', finished_at = clock_timestamp(), last_error = %(why)s
 WHERE flight = %(flight)s AND kind IN ('plan', 'collect') AND state IN ('queued', 'running')
RETURNING id;

-- still_reads --
SELECT EXISTS (SELECT FROM hive.task_{day}
                WHERE flight = %(flight)s AND kind IN ('plan', 'collect') AND state IN ('queued', 'running')) AS open;

-- free_leases_of --
-- A statement of its own, after the tasks are locked: a lease that was taken meanwhile is seen.
UPDATE hive.lease SET task = NULL WHERE task = ANY (%(tasks)s);

-- free_source_slots_of --
UPDATE hive.source_slot SET task = NULL WHERE task = ANY (%(tasks)s);

-- mark_stopped --
-- The flight stays open until what is sealed has landed; its error says how it will be closed.
UPDATE hive.flight SET error = %(why)s WHERE id = %(flight)s AND state IN ('queued', 'running');
