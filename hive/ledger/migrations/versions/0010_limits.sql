-- Nothing was ever written to the old one.
DROP TABLE hive.rate;
CREATE TABLE hive.rate (
    credential TEXT PRIMARY KEY,
    most INTEGER DEFAULT 1 NOT NULL,
    seconds DOUBLE PRECISION DEFAULT 1 NOT NULL,
    ends DOUBLE PRECISION[] DEFAULT '{}' NOT NULL,
    counts INTEGER[] DEFAULT '{}' NOT NULL
) WITH (fillfactor = 50);
COMMENT ON COLUMN hive.rate.credential IS 'a print of source and credential: whose requests count here';
COMMENT ON COLUMN hive.rate.most IS 'requests ...';
COMMENT ON COLUMN hive.rate.seconds IS '... in any so many seconds';
COMMENT ON COLUMN hive.rate.ends IS 'until when tokens count';
COMMENT ON COLUMN hive.rate.counts IS 'how many do, for each';

CREATE TABLE hive.breaker (
    endpoint TEXT PRIMARY KEY,
    state TEXT DEFAULT 'closed' NOT NULL,
    failures INTEGER DEFAULT 0 NOT NULL,
    probes INTEGER DEFAULT 0 NOT NULL,
    until TIMESTAMP WITH TIME ZONE,
    last_failure TEXT,
    failed_at TIMESTAMP WITH TIME ZONE,
    changed_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL
) WITH (fillfactor = 50);
COMMENT ON COLUMN hive.breaker.endpoint IS 'the source, without credentials';
COMMENT ON COLUMN hive.breaker.state IS 'closed, open or half_open';
COMMENT ON COLUMN hive.breaker.failures IS 'in a row';
COMMENT ON COLUMN hive.breaker.until IS 'the end of the cool-down, or of the probes';
COMMENT ON COLUMN hive.breaker.last_failure IS 'the code of the error, never a server''s text';

ALTER TABLE hive.bee
    ADD COLUMN credential TEXT DEFAULT '' NOT NULL,
    ADD COLUMN endpoint TEXT DEFAULT '' NOT NULL;
COMMENT ON COLUMN hive.bee.credential IS 'a print: bees of the same one share budgets and waits; empty: never opened';
COMMENT ON COLUMN hive.bee.endpoint IS 'the source it reads; see breaker';
