CREATE TABLE hive.account (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    password TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE
);
COMMENT ON COLUMN hive.account.role IS 'viewer or operator';
COMMENT ON COLUMN hive.account.password IS 'a salted scrypt hash';
COMMENT ON COLUMN hive.account.seen_at IS 'when it last logged in';

CREATE TABLE hive.session (
    id BYTEA PRIMARY KEY,
    account TEXT NOT NULL,
    mark BYTEA NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL
);
COMMENT ON COLUMN hive.session.id IS 'hash of the token that the browser holds';
COMMENT ON COLUMN hive.session.mark IS 'of token and password: another password ends the session';
CREATE INDEX session_ends ON hive.session (expires_at);

COMMENT ON COLUMN hive.audit.who IS 'an account of the pages, or user of the operating system and the machine';
COMMENT ON COLUMN hive.audit.action IS 'detokenize, rotate, login, fly, pause, ...; and the same with :refused';
