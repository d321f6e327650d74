-- Every statement counts what must be 0. `faults.offered` is the sources' own log, `faults.held` what the jars hold.

-- prepare --
CREATE SCHEMA IF NOT EXISTS faults;
CREATE TABLE IF NOT EXISTS faults.offered (stream text, id bigint, v int, mark text, at double precision);
CREATE OR REPLACE VIEW faults.held AS
SELECT b.name AS stream, (h.data ->> 'id')::bigint AS id, (h.data ->> 'v')::int AS v, h.data ->> 'mark' AS mark,
       h.data ->> 'note' AS note
  FROM hive.honey h JOIN hive.bee b ON b.id = h.bee
 WHERE h.deleted_at IS NULL AND b.name IN ('api', 'files', 'table');
CREATE OR REPLACE VIEW faults.mark AS
SELECT c.id, c.sealed_seq, c.landed_seq, b.name AS stream
  FROM hive.checkpoint c JOIN hive.bee b ON b.id = c.bee WHERE b.name IN ('api', 'files', 'table');
-- Each time that a landing writes a record, in the landing's own transaction. A position that rises writes no data.
CREATE TABLE IF NOT EXISTS faults.written (bee int, stream bigint, seq bigint, id text, v text, how text);
CREATE OR REPLACE FUNCTION faults.note_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO faults.written
    VALUES (NEW.bee, NEW.stream, NEW.seq, NEW.data ->> 'id', NEW.data ->> 'v',
            CASE WHEN TG_OP = 'INSERT' THEN 'new' WHEN NEW.scrub_version <> OLD.scrub_version THEN 'scrubbed'
                 WHEN NEW.content_hash = OLD.content_hash AND OLD.deleted_at IS NULL THEN 'same' ELSE 'changed' END);
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER written AFTER INSERT OR UPDATE OF data ON hive.honey FOR EACH ROW
    WHEN (NEW.deleted_at IS NULL) EXECUTE FUNCTION faults.note_written();

-- lost --
-- The newest version that a source offered is not in the jar; a flight by hand that was promised (%(flown)s) is unknown.
SELECT (SELECT count(*) FROM (SELECT stream, id, max(v) AS v FROM faults.offered GROUP BY stream, id) o
          LEFT JOIN faults.held h ON h.stream = o.stream AND h.id = o.id AND h.v >= o.v
         WHERE h.id IS NULL)
     + (SELECT count(*) FROM unnest(%(flown)s::uuid[]) AS p(flight)
         WHERE NOT EXISTS (SELECT FROM hive.flight f WHERE f.id = p.flight));

-- dup --
-- A record that is there twice; a part of a batch with two receipts; a version that one batch wrote twice, or that
-- came back after another one; a batch of which more or less was written than its receipts say. To write the same over
-- the same is no harm where it came in two batches, which landed at once: sources are read with an overlap, and a page
-- once more after an interruption.
SELECT (SELECT count(*) - count(DISTINCT (stream, id)) FROM faults.held)
     + (SELECT count(*) FROM hive.receipt a JOIN hive.receipt b
            ON a.checkpoint = b.checkpoint AND a.seq = b.seq AND a.row_from < b.row_from AND b.row_from < a.row_to)
     + (SELECT count(*) - count(DISTINCT (w.stream, w.seq, w.id, w.v)) FROM faults.written w JOIN hive.bee b ON b.id = w.bee
         WHERE b.name IN ('api', 'files', 'table'))
     + (SELECT count(*) - count(DISTINCT (w.stream, w.id, w.v)) FROM faults.written w JOIN hive.bee b ON b.id = w.bee
         WHERE b.name IN ('api', 'files', 'table') AND w.how IN ('new', 'changed'))
     + (SELECT count(*)
          FROM (SELECT c.stream, r.seq, sum(r.landed) AS records
                  FROM hive.receipt r JOIN faults.mark m ON m.id = r.checkpoint JOIN hive.checkpoint c ON c.id = m.id
                 GROUP BY 1, 2) r
          FULL JOIN (SELECT w.stream, w.seq, count(*) AS records FROM faults.written w JOIN hive.bee b ON b.id = w.bee
                      WHERE b.name IN ('api', 'files', 'table') GROUP BY 1, 2) w USING (stream, seq)
         WHERE coalesce(r.records, 0) <> coalesce(w.records, 0));

-- ghost --
SELECT count(*) FROM faults.held h
 WHERE NOT EXISTS (SELECT FROM faults.offered o WHERE o.stream = h.stream AND o.id = h.id AND o.v = h.v);

-- corrupt --
-- Its fields are not what the source gave, or do not belong together.
SELECT count(*) FROM faults.held h JOIN faults.offered o ON o.stream = h.stream AND o.id = h.id AND o.v = h.v
 WHERE o.mark IS DISTINCT FROM h.mark
    OR h.mark IS DISTINCT FROM translate(
           left(encode(sha256(convert_to(concat_ws('|', h.stream, h.id, h.v, h.note), 'UTF8')), 'hex'), 24),
           '0123456789', 'ghijklmnop');

-- gap --
-- The watermark stands above a batch of which a part has no receipt, or that never was.
SELECT (SELECT count(*) FROM hive.batch b JOIN faults.mark m ON m.id = b.checkpoint
         WHERE b.seq <= m.landed_seq
           AND b.rows <> (SELECT coalesce(sum(r.row_to - r.row_from), 0) FROM hive.receipt r
                           WHERE r.checkpoint = b.checkpoint AND r.seq = b.seq))
     + (SELECT coalesce(sum(abs(m.landed_seq - (SELECT count(DISTINCT b.seq) FROM hive.batch b
                                                 WHERE b.checkpoint = m.id AND b.seq <= m.landed_seq))), 0)
          FROM faults.mark m);

-- stuck --
-- What was there before %(before)s, or was promised (%(flown)s), and is still open, or holds something for nobody.
SELECT (SELECT count(*) FROM hive.task WHERE state IN ('queued', 'running') AND created_at < %(before)s)
     + (SELECT count(*) FROM hive.flight
         WHERE state IN ('queued', 'running') AND (created_at < %(before)s OR id = ANY (%(flown)s::uuid[])))
     + (SELECT count(*) FROM hive.batch WHERE state = 'sealed' AND created_at < %(before)s)
     + (SELECT count(*) FROM hive.payload p JOIN hive.batch b ON b.day = p.day AND b.id = p.batch
         WHERE b.created_at < %(before)s)
     + (SELECT count(*) FROM hive.lease l LEFT JOIN hive.task t ON t.day = l.day AND t.id = l.task
         WHERE l.task IS NOT NULL AND t.state IS DISTINCT FROM 'running'
           AND l.taken_at < %(before)s);

-- slots --
-- Instants at which a bee was due, without a slot: neither flown nor left out for a reason that was written down.
-- %(undue)s: times in which a bee was not in the configuration.
SELECT count(*) FROM hive.bee b
 CROSS JOIN generate_series(to_timestamp(ceil(%(since)s::float / %(every)s) * %(every)s),
                            to_timestamp(%(until)s), make_interval(secs => %(every)s)) AS due
 WHERE b.name IN ('api', 'files', 'table')
   AND NOT EXISTS (SELECT FROM json_to_recordset(%(undue)s::json) AS u (bee text, since float, until float)
                    WHERE u.bee = b.name AND extract(epoch FROM due) BETWEEN u.since AND u.until)
   AND NOT EXISTS (SELECT FROM hive.slot s
                    WHERE s.bee = b.id AND s.outcome <> 'skipped:catch_up'
                      AND s.slot_key = 'default@' || to_char(due AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"'));

-- first_landing --
-- Seconds from an instant to the first landing of a record after it.
SELECT extract(epoch FROM min(r.created_at))::float - %(at)s FROM hive.receipt r JOIN faults.mark m ON m.id = r.checkpoint
 WHERE r.landed > 0 AND r.created_at > to_timestamp(%(at)s);

-- which --
-- Where they are: stream, what is lost of it, from which record to which, and the slots of late.
SELECT o.stream, count(*)::text, min(o.id)::text, max(o.id)::text
  FROM (SELECT stream, id, max(v) AS v FROM faults.offered GROUP BY stream, id) o
  LEFT JOIN faults.held h ON h.stream = o.stream AND h.id = o.id AND h.v >= o.v
 WHERE h.id IS NULL GROUP BY o.stream
UNION ALL
SELECT b.name, s.slot_key, s.outcome, s.created_at::text FROM hive.slot s JOIN hive.bee b ON b.id = s.bee
 WHERE s.created_at > clock_timestamp() - interval '2 minutes'
UNION ALL
SELECT b.name, f.state, f.slot_key, f.error::text FROM hive.flight f JOIN hive.bee b ON b.id = f.bee WHERE f.state = 'failed'
UNION ALL
SELECT b.name, 'quarantine', q.code, q.reason FROM hive.quarantine q JOIN hive.bee b ON b.id = q.bee
UNION ALL
SELECT b.name, 'written', w.id || ' v' || w.v, string_agg(w.how || ' at ' || w.seq, ', ') FROM faults.written w JOIN hive.bee b ON b.id = w.bee
 WHERE b.name IN ('api', 'files', 'table') GROUP BY b.name, w.id, w.v HAVING count(*) > 1
UNION ALL
(SELECT b.name, 'batch ' || coalesce(r.seq, w.seq), 'landed ' || coalesce(r.n, 0), 'written ' || coalesce(w.n, 0)
  FROM (SELECT c.bee, c.stream, r.seq, sum(r.landed) AS n FROM hive.receipt r JOIN hive.checkpoint c ON c.id = r.checkpoint GROUP BY 1, 2, 3) r
  FULL JOIN (SELECT bee, stream, seq, count(*) AS n FROM faults.written GROUP BY 1, 2, 3) w USING (bee, stream, seq)
  JOIN hive.bee b ON b.id = bee WHERE b.name IN ('api', 'files', 'table') AND coalesce(r.n, 0) <> coalesce(w.n, 0));
