"""How current a bee's jar is, and the connections that each process holds to sources."""

from alembic import op

revision = "0014"
down_revision = "0012"


def upgrade() -> None:
    op.get_bind().exec_driver_sql(
        "ALTER TABLE hive.tally ADD COLUMN current_at timestamptz;"
        " COMMENT ON COLUMN hive.tally.current_at IS 'when it began: what the source held by then is in the jar';"
        " UPDATE hive.tally t SET current_at = (SELECT max(started_at) FROM hive.flight f"
        "   WHERE f.bee = t.bee AND f.state = 'complete') WHERE success_at IS NOT NULL;"
        " ALTER TABLE hive.worker ADD COLUMN pools jsonb;"
        " COMMENT ON COLUMN hive.worker.pools IS"
        " 'connections to sources by connector: {name: [size, idle, active]}; null: none';"
    )
