CREATE INDEX quarantine_of_batch ON hive.quarantine (checkpoint, epoch, seq) WHERE key_hash IS NULL;
