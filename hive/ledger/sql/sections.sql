-- end_unmet --
-- With the last seal of a reading that met every section there is: those of earlier epochs that it did not meet are gone.
INSERT INTO hive.section_read (checkpoint, section, epoch, from_seq, own, to_seq)
SELECT DISTINCT k.checkpoint, k.section, %(epoch)s, %(first)s, %(own)s, %(seq)s
  FROM hive.section_keys k
 WHERE k.checkpoint = %(checkpoint)s AND k.epoch < %(epoch)s
   AND NOT EXISTS (SELECT FROM hive.section_keys n
                    WHERE n.checkpoint = k.checkpoint AND n.section = k.section AND n.epoch >= %(epoch)s)
   AND NOT EXISTS (SELECT FROM hive.section_read r
                    WHERE r.checkpoint = k.checkpoint AND r.section = k.section AND r.epoch >= %(epoch)s)
    ON CONFLICT (checkpoint, section) DO UPDATE
   SET epoch = excluded.epoch, from_seq = excluded.from_seq, own = excluded.own, to_seq = excluded.to_seq;

-- hold_sections --
-- With the landing of a batch: the keys of each section, with commas between, and semicolons between the sections.
INSERT INTO hive.section_keys AS s (checkpoint, section, epoch, seq, row_from, keys, partial)
SELECT %(checkpoint)s, decode(n.section, 'hex'), %(epoch)s, %(seq)s, %(row_from)s,
       coalesce((SELECT array_agg(decode(k, 'hex')) FROM unnest(string_to_array(n.keys, ',')) AS k), '{}'), n.partial
  FROM unnest(%(sections)s::text[], string_to_array(%(keys)s, ';'), %(partial)s::bool[]) AS n(section, keys, partial)
    ON CONFLICT (checkpoint, section, epoch, seq, row_from) DO UPDATE
   SET keys = s.keys || excluded.keys, partial = s.partial OR excluded.partial;

-- hold_section --
-- The same for one section, as most batches of large files have it.
INSERT INTO hive.section_keys AS s (checkpoint, section, epoch, seq, row_from, keys, partial)
SELECT %(checkpoint)s, decode(n.section, 'hex'), %(epoch)s, %(seq)s, %(row_from)s, %(keys)s, n.partial
  FROM unnest(%(sections)s::text[], %(partial)s::bool[]) AS n(section, partial)
    ON CONFLICT (checkpoint, section, epoch, seq, row_from) DO UPDATE
   SET keys = s.keys || excluded.keys, partial = s.partial OR excluded.partial;

-- lock_sections --
-- Streams of which sections were read to their end, and of which everything that was sealed has landed. Nobody seals more
-- of them before this transaction ends. Its commit waits for no disk: what a crash takes back is found and done again.
SELECT c.id AS checkpoint, c.bee, c.jar, c.stream, c.epoch, c.sealed_seq, j.part, b.name AS bee_name, s.name AS stream_name,
       coalesce((b.config #>> '{limits,max_deleted}')::float8, %(most)s) AS most, c.held_deletes,
       (SELECT bool_and(r.own) FROM hive.section_read r WHERE r.checkpoint = c.id AND r.to_seq IS NOT NULL) AS own,
       set_config('synchronous_commit', 'off', true) AS commit, set_config('work_mem', '64MB', true) AS room
  FROM hive.flight f JOIN hive.checkpoint c ON c.bee = f.bee AND c.jar = f.jar JOIN hive.jar j ON j.id = c.jar
  JOIN hive.bee b ON b.id = c.bee JOIN hive.stream s ON s.id = c.stream
 WHERE f.id = %(flight)s AND c.landed_seq >= c.sealed_seq
   AND EXISTS (SELECT FROM hive.section_read r WHERE r.checkpoint = c.id AND r.to_seq IS NOT NULL)
 ORDER BY c.id FOR UPDATE OF c;

-- told_sections --
-- Those that were read to their end. Sections of which a record was set aside that nobody could tell by its key are left
-- out.
SELECT r.section, r.from_seq,
       (SELECT coalesce(sum(cardinality(k.keys)), 0)::bigint FROM hive.section_keys k
         WHERE k.checkpoint = r.checkpoint AND k.section = r.section) AS keys
  FROM hive.section_read r
 WHERE r.checkpoint = %(checkpoint)s AND r.epoch = %(epoch)s AND r.to_seq IS NOT NULL
   AND NOT EXISTS (SELECT FROM hive.section_keys k
                    WHERE k.checkpoint = r.checkpoint AND k.section = r.section AND k.epoch = r.epoch
                      AND k.seq BETWEEN r.from_seq AND r.to_seq AND k.partial)
   AND NOT EXISTS (SELECT FROM hive.quarantine q
                    WHERE q.checkpoint = r.checkpoint AND q.epoch = r.epoch AND q.seq BETWEEN r.from_seq AND r.to_seq
                      AND q.key_hash IS NULL AND q.state <> 'retried' AND q.code IN ('killed_worker', 'dead_batch'));

-- settle_gone --
-- What quarantine holds of records that are gone tells of nothing any more.
UPDATE hive.quarantine SET state = 'dropped', body = ''
 WHERE stream = %(stream)s AND state = 'open' AND key_hash = ANY (SELECT decode(k, 'hex') FROM unnest(%(keys)s::text[]) k);

-- settle_older --
-- A complete read met everything, or the source emptied the stream: what quarantine holds from before is of no record.
UPDATE hive.quarantine SET state = 'dropped', body = ''
 WHERE stream = %(stream)s AND state = 'open' AND (epoch, seq) < (%(epoch)s, %(low)s);

-- settle_lost --
-- What quarantine holds without a key of batches of which every section that missed something was read anew or is gone.
UPDATE hive.quarantine q SET state = 'dropped', body = ''
  FROM unnest(%(epochs)s::int[], %(seqs)s::bigint[]) AS l(epoch, seq)
 WHERE q.checkpoint = %(checkpoint)s AND q.epoch = l.epoch AND q.seq = l.seq AND q.state = 'open' AND q.key_hash IS NULL
   AND NOT EXISTS (SELECT FROM hive.section_keys k
                    WHERE k.checkpoint = q.checkpoint AND k.epoch = l.epoch AND k.seq = l.seq AND k.partial);

-- current_sections --
-- Those whose rows of this batch are still what they gave. The lock is that of those who compare sections.
WITH alone AS MATERIALIZED (SELECT id FROM hive.checkpoint WHERE id = %(checkpoint)s FOR KEY SHARE)
SELECT DISTINCT encode(k.section, 'hex') AS section
  FROM alone JOIN hive.section_keys k ON k.checkpoint = alone.id
 WHERE k.epoch = %(epoch)s AND k.seq = %(seq)s
   AND k.section = ANY (SELECT decode(s, 'hex') FROM unnest(%(sections)s::text[]) s);

-- hold_left --
-- Too many to be deleted unasked: they are compared again with the next flight, whatever the files hold then.
UPDATE hive.checkpoint SET held_deletes = %(held)s WHERE id = %(checkpoint)s;

-- end_told --
-- Compared: what older readings of these sections gave is forgotten. Gives the batches of which they missed something.
WITH older AS (
    DELETE FROM hive.section_keys s USING unnest(%(sections)s::bytea[], %(from_seqs)s::bigint[]) AS t(section, from_seq)
     WHERE s.checkpoint = %(checkpoint)s AND s.section = t.section AND (s.epoch, s.seq) < (%(epoch)s, t.from_seq)
    RETURNING s.epoch, s.seq, s.partial
), told AS (
    DELETE FROM hive.section_read WHERE checkpoint = %(checkpoint)s AND to_seq IS NOT NULL
)
SELECT DISTINCT epoch, seq FROM older WHERE partial;

-- forget_sections --
-- A complete read of everything met what there is: what sections gave before it counts no more.
DELETE FROM hive.section_keys
 WHERE checkpoint = ANY (%(checkpoints)s) AND (epoch, seq) < (%(epoch)s, %(low)s);
