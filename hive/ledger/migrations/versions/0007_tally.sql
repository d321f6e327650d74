CREATE TABLE hive.tally (
    bee INTEGER NOT NULL,
    bee_type TEXT NOT NULL,
    complete BIGINT DEFAULT 0 NOT NULL,
    failed BIGINT DEFAULT 0 NOT NULL,
    cancelled BIGINT DEFAULT 0 NOT NULL,
    records_read BIGINT DEFAULT 0 NOT NULL,
    records_landed BIGINT DEFAULT 0 NOT NULL,
    records_unchanged BIGINT DEFAULT 0 NOT NULL,
    records_superseded BIGINT DEFAULT 0 NOT NULL,
    records_deleted BIGINT DEFAULT 0 NOT NULL,
    records_quarantined BIGINT DEFAULT 0 NOT NULL,
    bytes_read BIGINT DEFAULT 0 NOT NULL,
    organizations BIGINT DEFAULT 0 NOT NULL,
    retries BIGINT DEFAULT 0 NOT NULL,
    seconds DOUBLE PRECISION DEFAULT 0 NOT NULL,
    durations BIGINT[] NOT NULL,
    last_state TEXT NOT NULL,
    last_seconds DOUBLE PRECISION NOT NULL,
    last_at TIMESTAMP WITH TIME ZONE NOT NULL,
    success_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (bee)
) WITH (fillfactor = 50);
COMMENT ON COLUMN hive.tally.bee_type IS 'of its last flight: api, database, ...';
COMMENT ON COLUMN hive.tally.organizations IS 'those of the landed records that came from a stream of organizations';
COMMENT ON COLUMN hive.tally.retries IS 'attempts of its tasks after the first';
COMMENT ON COLUMN hive.tally.durations IS 'flights that lasted at most so long, for each of DURATIONS';
COMMENT ON COLUMN hive.tally.last_at IS 'when its last flight ended';
COMMENT ON COLUMN hive.tally.success_at IS 'when its last complete flight ended';

CREATE TABLE hive.fault (
    bee INTEGER NOT NULL,
    code TEXT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (bee, code)
) WITH (fillfactor = 50);
COMMENT ON TABLE hive.fault IS 'flights that failed, by the code of their error';

CREATE TABLE hive.taken_out (
    bee INTEGER NOT NULL,
    kind TEXT NOT NULL,
    action TEXT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (bee, kind, action)
) WITH (fillfactor = 50);
COMMENT ON TABLE hive.taken_out IS 'what scrubbing took out: kinds and counts, never values';

-- What is known of the flights until now.
INSERT INTO hive.tally (bee, bee_type, complete, failed, cancelled, records_read, records_landed, records_unchanged,
                        records_superseded, records_deleted, records_quarantined, bytes_read, seconds, durations,
                        last_state, last_seconds, last_at, success_at)
SELECT f.bee, replace(b.queue, 'bees.', ''), count(*) FILTER (WHERE f.state = 'complete'),
       count(*) FILTER (WHERE f.state = 'failed'), count(*) FILTER (WHERE f.state = 'cancelled'),
       sum(f.records_read), sum(f.records_landed), sum(f.records_unchanged), sum(f.records_superseded),
       sum(f.records_deleted), sum(f.records_quarantined), sum(f.bytes_read), sum(f.seconds),
       ARRAY[count(*) FILTER (WHERE f.seconds <= 1), count(*) FILTER (WHERE f.seconds <= 5),
             count(*) FILTER (WHERE f.seconds <= 30), count(*) FILTER (WHERE f.seconds <= 120),
             count(*) FILTER (WHERE f.seconds <= 600), count(*) FILTER (WHERE f.seconds <= 3600)],
       (array_agg(f.state ORDER BY f.finished_at DESC))[1], (array_agg(f.seconds ORDER BY f.finished_at DESC))[1],
       max(f.finished_at), max(f.finished_at) FILTER (WHERE f.state = 'complete')
  FROM (SELECT *, greatest(extract(epoch FROM finished_at - coalesce(started_at, finished_at))::float8, 0) AS seconds
          FROM hive.flight WHERE state NOT IN ('queued', 'running') AND finished_at IS NOT NULL) f
  JOIN hive.bee b ON b.id = f.bee
 GROUP BY f.bee, b.queue;

INSERT INTO hive.fault (bee, code, count)
SELECT bee, CASE WHEN error ->> 'code' ~ '^[a-z][a-z0-9_]{0,62}$' THEN error ->> 'code' ELSE 'other' END, count(*)
  FROM hive.flight WHERE state = 'failed' GROUP BY 1, 2;

INSERT INTO hive.taken_out (bee, kind, action, count)
SELECT f.bee, s.kind, s.action, sum(s.count)
  FROM hive.flight f CROSS JOIN LATERAL jsonb_to_recordset(f.scrubbed) AS s(kind text, action text, count bigint)
 WHERE f.state NOT IN ('queued', 'running') AND f.scrubbed IS NOT NULL GROUP BY 1, 2, 3;
