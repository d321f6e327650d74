CREATE SEQUENCE hive.inbox_number;
ALTER TABLE hive.inbox ADD COLUMN number BIGINT DEFAULT nextval('hive.inbox_number') NOT NULL;
COMMENT ON COLUMN hive.inbox.number IS 'about the order of arrival; a message that comes again under its id is another number';
COMMENT ON COLUMN hive.inbox.slot_key IS 'the slot that answered it, or `sealed` where a bee took its body; null: it waits';
CREATE INDEX inbox_waiting ON hive.inbox (bee, number) WHERE slot_key IS NULL;
