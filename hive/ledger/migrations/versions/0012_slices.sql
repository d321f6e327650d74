-- A large stream is read in parts that have checkpoints of their own. Their seqs are far apart, and the next reading's
-- are above all of them: so a pos is one of a kind in its stream, and a later one is higher.
ALTER TABLE hive.checkpoint
    ADD COLUMN slices INTEGER DEFAULT 0 NOT NULL,
    ADD COLUMN round INTEGER DEFAULT 0 NOT NULL,
    ADD COLUMN ended BOOLEAN DEFAULT false NOT NULL,
    ADD COLUMN replaces BOOLEAN DEFAULT false NOT NULL;
COMMENT ON COLUMN hive.checkpoint.slices IS 'of a whole stream: parts in which it is read; 0: it is one';
COMMENT ON COLUMN hive.checkpoint.round IS 'number of the reading in parts; parts of an earlier one count no more';
COMMENT ON COLUMN hive.checkpoint.ended IS 'of a part: it was read to its end in this round';
COMMENT ON COLUMN hive.checkpoint.replaces IS 'a complete read takes the place of all that was there';
