ALTER TABLE hive.receipt ADD COLUMN scrubbed JSONB;
COMMENT ON COLUMN hive.receipt.scrubbed IS 'what this landing took out of the records it wrote: [{field, kind, action, count}]; null: nothing';

ALTER TABLE hive.flight ADD COLUMN scrubbed JSONB;
COMMENT ON COLUMN hive.flight.scrubbed IS 'the sums of its receipts: [{field, kind, action, count}]; null: nothing, or not closed yet';

CREATE VIEW hive.scrubbed AS
SELECT f.id AS flight, b.name AS bee, f.created_at, s.field, s.kind, s.action, s.count
  FROM hive.flight f JOIN hive.bee b ON b.id = f.bee
 CROSS JOIN LATERAL jsonb_to_recordset(f.scrubbed) AS s(field text, kind text, action text, count bigint);
COMMENT ON VIEW hive.scrubbed IS 'what each closed flight took out of its records: kinds and counts, never values';

CREATE INDEX event_refused ON hive.event (id) WHERE kind = 'config_refused';
