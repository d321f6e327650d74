ALTER TABLE hive.bee ADD COLUMN paused_at TIMESTAMP WITH TIME ZONE;
COMMENT ON COLUMN hive.bee.paused_at IS 'since when neither schedules nor events fly it; null: they do';

ALTER TABLE hive.schedule ADD COLUMN settled TIMESTAMP WITH TIME ZONE;
COMMENT ON COLUMN hive.schedule.settled IS 'slots of a blackout up to here are written down; null: none yet';

COMMENT ON COLUMN hive.slot.outcome IS 'flown, or skipped:<why>: overlap, blackout, catch_up, paused';
CREATE INDEX slot_skipped ON hive.slot (created_at) WHERE flight IS NULL;
UPDATE hive.slot SET outcome = 'skipped:overlap' WHERE outcome = 'skipped';

CREATE TABLE hive.listener (
    bee INTEGER NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    event BIGINT,
    first_at TIMESTAMP WITH TIME ZONE,
    last_at TIMESTAMP WITH TIME ZONE,
    mark BIGINT,
    PRIMARY KEY (bee, kind, subject),
    FOREIGN KEY(bee) REFERENCES hive.bee (id) ON DELETE CASCADE
);
COMMENT ON COLUMN hive.listener.bee IS 'who flies';
COMMENT ON COLUMN hive.listener.kind IS 'after, jar, file or webhook';
COMMENT ON COLUMN hive.listener.subject IS 'name of the bee or jar, or the pattern of the files';
COMMENT ON COLUMN hive.listener.event IS 'the newest event that no flight has answered; null: there is none';
COMMENT ON COLUMN hive.listener.first_at IS 'when the first of those events was';
COMMENT ON COLUMN hive.listener.mark IS 'file: change time in ns of the newest file that was seen';
CREATE INDEX listener_of_subject ON hive.listener (kind, subject);
CREATE INDEX listener_waiting ON hive.listener (bee) WHERE event IS NOT NULL;

ALTER TABLE hive.event ADD COLUMN handled_at TIMESTAMP WITH TIME ZONE;
COMMENT ON COLUMN hive.event.handled_at IS 'when the listeners were told';
CREATE INDEX event_waiting ON hive.event (id) WHERE handled_at IS NULL;
