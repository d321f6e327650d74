-- rate_held --
-- What counts of a credential's quota, for this transaction alone. The clock may be read before the row is ours: then a
-- little too much counts, and never too little, for who draws counts the lease from before it asked.
SELECT ends, counts, extract(epoch FROM clock_timestamp())::float8 AS now
  FROM hive.rate WHERE credential = %(credential)s FOR UPDATE;

-- rate_begin --
INSERT INTO hive.rate (credential) VALUES (%(credential)s) ON CONFLICT DO NOTHING;

-- rate_keep --
UPDATE hive.rate SET ends = %(ends)s, counts = %(counts)s, most = %(most)s, seconds = %(seconds)s
 WHERE credential = %(credential)s;

-- breaker_seen --
SELECT state, failures, probes, coalesce(extract(epoch FROM until)::float8, 0) AS until,
       extract(epoch FROM clock_timestamp())::float8 AS now
  FROM hive.breaker WHERE endpoint = %(endpoint)s;

-- breaker_held --
-- The same, for this transaction alone.
SELECT state, failures, probes, coalesce(extract(epoch FROM until)::float8, 0) AS until,
       extract(epoch FROM clock_timestamp())::float8 AS now
  FROM hive.breaker WHERE endpoint = %(endpoint)s FOR UPDATE;

-- breaker_begin --
INSERT INTO hive.breaker (endpoint) VALUES (%(endpoint)s) ON CONFLICT DO NOTHING;

-- breaker_keep --
-- `code`: of the failure that this is about, null where it is none.
UPDATE hive.breaker
   SET state = %(state)s, failures = %(failures)s, probes = %(probes)s,
       until = CASE WHEN %(until)s > 0 THEN to_timestamp(%(until)s) END,
       last_failure = coalesce(%(code)s, last_failure),
       failed_at = CASE WHEN %(code)s IS NULL THEN failed_at ELSE clock_timestamp() END,
       changed_at = CASE WHEN state = %(state)s THEN changed_at ELSE clock_timestamp() END
 WHERE endpoint = %(endpoint)s;

-- note_bee --
-- What a bee reads and as whom, once somebody has opened it. `source`: the block that it was opened with. A flight that
-- began before the bee was moved goes on asking the old place, and has no say in where the bee reads by now. A wait of
-- the same credential is its own, too; one that another place asked for is not.
UPDATE hive.bee b
   SET credential = %(credential)s, endpoint = %(endpoint)s,
       retry_at = greatest(CASE WHEN b.endpoint IN ('', %(endpoint)s) THEN b.retry_at END,
                           (SELECT max(o.retry_at) FROM hive.bee o
                             WHERE o.credential = %(credential)s AND o.retry_at > clock_timestamp()))
 WHERE b.id = %(bee)s AND (b.credential, b.endpoint) IS DISTINCT FROM (%(credential)s, %(endpoint)s)
   AND coalesce(b.config -> 'source', '{}') = %(source)s;

-- note_retry_at --
-- The source wants to be left alone: by this bee, and by those that share its credential (`whole`: its source). A row
-- that somebody has in hand is not waited for; who writes it knows the same, or is told when it asks. While a task is in
-- hand that began before the bee was moved, it may be the old place that said so: then the task alone waits.
UPDATE hive.bee SET retry_at = greatest(retry_at, clock_timestamp() + make_interval(secs => %(after)s))
 WHERE id IN (SELECT o.id FROM hive.bee b JOIN hive.bee o
                ON o.id = b.id OR (NOT %(whole)s AND b.credential <> '' AND o.credential = b.credential)
                   OR (%(whole)s AND b.endpoint <> '' AND o.endpoint = b.endpoint)
               WHERE b.id = %(bee)s
                 AND NOT EXISTS (SELECT FROM hive.task t JOIN hive.flight f ON f.id = t.flight
                                   JOIN hive.config_version v ON v.id = f.config_version
                                  WHERE t.bee = b.id AND t.state = 'running' AND t.kind <> 'process'
                                    AND f.config_version <> b.config_version
                                    AND v.body -> 'blocks' -> b.name -> 'source' <> b.config -> 'source')
               ORDER BY o.id FOR NO KEY UPDATE OF o SKIP LOCKED);

-- forget_rates --
-- Credentials that no bee has any more, once nothing of theirs counts.
DELETE FROM hive.rate r
 WHERE NOT EXISTS (SELECT FROM hive.bee b WHERE b.credential = r.credential)
   AND NOT EXISTS (SELECT FROM unnest(r.ends) AS u(until) WHERE u.until > extract(epoch FROM clock_timestamp()));

-- forget_breakers --
DELETE FROM hive.breaker r
 WHERE NOT EXISTS (SELECT FROM hive.bee b WHERE b.endpoint = r.endpoint) AND coalesce(r.until < clock_timestamp(), true);

-- breakers --
SELECT b.name AS bee, r.state, r.failures, r.until, r.last_failure, r.failed_at
  FROM hive.bee b JOIN hive.breaker r ON r.endpoint = b.endpoint;
