-- Keys by batch, not by row: a sixth of the work, and looked at once, whole.
DROP TABLE hive.seen;
CREATE TABLE hive.seen (
    checkpoint BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    row_from INTEGER NOT NULL,
    keys BYTEA[] NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    PRIMARY KEY (checkpoint, seq, row_from)
);
COMMENT ON TABLE hive.seen IS 'keys that a read of a whole stream has met, until it is complete';

ALTER TABLE hive.checkpoint
    ADD COLUMN pass_from BIGINT,
    ADD COLUMN whole_from BIGINT,
    ADD COLUMN whole_to BIGINT,
    ADD COLUMN held_deletes BIGINT DEFAULT 0 NOT NULL;
-- A reading that began before this counts for nothing.
UPDATE hive.checkpoint SET pass_from = -1 WHERE sealed_seq > 0;
COMMENT ON COLUMN hive.checkpoint.pass_from IS 'first seq of the reading that is not complete yet';
COMMENT ON COLUMN hive.checkpoint.whole_from IS 'first seq of the complete read that waits to be compared with the jar';
COMMENT ON COLUMN hive.checkpoint.whole_to IS 'its last seq; null: none waits';
COMMENT ON COLUMN hive.checkpoint.held_deletes IS 'records that the last complete read missed and that were too many to delete unasked';
