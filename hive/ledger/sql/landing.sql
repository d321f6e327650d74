-- standing --
-- A letter for each record, see hive/jars/land.py, and texts with commas between: a row and a list for each cost a multiple
-- (measured).
SELECT string_agg(CASE WHEN h.key_hash IS NULL THEN 'n'
                       WHEN h.scrub_version <> %(scrub_version)s THEN 'o'
                       WHEN h.deleted_at IS NULL AND h.content_hash <> asked.content THEN 'o'
                       WHEN h.deleted_at IS NOT NULL
                            AND h.content_hash <> set_byte(asked.content, 0, get_byte(asked.content, 0) # 128) THEN 'o'
                       WHEN (SELECT EXISTS (SELECT FROM hive.quarantine q
                                             WHERE q.stream = %(stream)s AND q.key_hash IS NULL AND q.state = 'open'
                                               AND q.code IN ('killed_worker', 'dead_batch'))) THEN 'q'
                       WHEN (SELECT EXISTS (SELECT FROM hive.quarantine q
                                             WHERE q.stream = %(stream)s AND q.key_hash IS NOT NULL
                                               AND q.state = 'open'))
                            AND EXISTS (SELECT FROM hive.quarantine q
                                         WHERE q.stream = %(stream)s AND q.key_hash = h.key_hash
                                           AND q.state = 'open') THEN 'q'
                       ELSE 's' END, '' ORDER BY asked.at) AS letters
  FROM (SELECT decode(key_hash, 'hex') AS key, decode(content_hash, 'hex') AS content, at
          FROM unnest(string_to_array(%(keys)s, ','), string_to_array(%(contents)s, ','))
               WITH ORDINALITY AS n(key_hash, content_hash, at) OFFSET 0) asked
  LEFT JOIN LATERAL (SELECT key_hash, content_hash, scrub_version, deleted_at
                       FROM hive.honey_{part}
                      WHERE part = %(part)s AND jar = %(jar)s AND bee = %(bee)s AND stream = %(stream)s
                        AND key_hash = asked.key OFFSET 0) h ON true;

-- raise_pos --
WITH aimed AS (
    SELECT h.at, n."row", n.content_hash
      FROM unnest(%(keys)s::text[], %(rows)s::int[], %(contents)s::text[]) AS n(key_hash, "row", content_hash)
     CROSS JOIN LATERAL (SELECT ctid AS at FROM hive.honey_{part}
                          WHERE part = %(part)s AND jar = %(jar)s AND bee = %(bee)s AND stream = %(stream)s
                            AND key_hash = decode(n.key_hash, 'hex') OFFSET 0) h
)
UPDATE hive.honey_{part} h SET epoch = %(epoch)s, seq = %(seq)s, "row" = aimed."row" FROM aimed
 WHERE h.ctid = aimed.at AND h.content_hash = decode(aimed.content_hash, 'hex') AND h.deleted_at IS NULL
   AND (h.epoch, h.seq, h."row") < (%(epoch)s, %(seq)s, aimed."row")
RETURNING encode(h.key_hash, 'hex') AS key;

-- older --
SELECT n.key_hash FROM unnest(%(keys)s::text[], %(rows)s::int[]) AS n(key_hash, "row")
  LEFT JOIN LATERAL (SELECT epoch, seq, "row" FROM hive.honey_{part}
                      WHERE part = %(part)s AND jar = %(jar)s AND bee = %(bee)s AND stream = %(stream)s
                        AND key_hash = decode(n.key_hash, 'hex') OFFSET 0) h ON true
 WHERE h.epoch IS NULL OR (h.epoch, h.seq, h."row") < (%(epoch)s, %(seq)s, n."row");
