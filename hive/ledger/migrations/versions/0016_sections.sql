CREATE TABLE hive.section_keys (
    checkpoint BIGINT NOT NULL,
    section BYTEA NOT NULL,
    epoch INTEGER NOT NULL,
    seq BIGINT NOT NULL,
    row_from INTEGER NOT NULL,
    keys BYTEA[] NOT NULL,
    partial BOOLEAN NOT NULL,
    PRIMARY KEY (checkpoint, section, epoch, seq, row_from)
);
COMMENT ON TABLE hive.section_keys IS 'keys that a section of a stream, such as a file, gave, by landing';
COMMENT ON COLUMN hive.section_keys.section IS 'keyed hash of its name';
COMMENT ON COLUMN hive.section_keys.partial IS 'a record of it was set aside that has no key';

CREATE TABLE hive.section_read (
    checkpoint BIGINT NOT NULL,
    section BYTEA NOT NULL,
    epoch INTEGER NOT NULL,
    from_seq BIGINT NOT NULL,
    to_seq BIGINT,
    own BOOLEAN NOT NULL,
    PRIMARY KEY (checkpoint, section)
);
COMMENT ON TABLE hive.section_read IS 'the newest reading of a section, until what it missed is deleted';
COMMENT ON COLUMN hive.section_read.from_seq IS 'seq of the batch with its first rows';
COMMENT ON COLUMN hive.section_read.to_seq IS 'seq of the batch with its last rows; null: it was not read to its end';
COMMENT ON COLUMN hive.section_read.own IS 'no other section can hold its records';
