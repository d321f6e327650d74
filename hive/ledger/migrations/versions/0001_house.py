"""The whole house: every table of the ledger and the jars. Never edited after a release; changes are new revisions."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None

SHARED_PARTS = 16


def upgrade() -> None:
    here = Path(__file__)
    run = op.get_bind().exec_driver_sql
    run("CREATE SCHEMA IF NOT EXISTS jars")
    for file in (here.with_suffix(".sql"), here.with_name("0001_casts.sql")):
        run(file.read_text())
    # lz4 halves the cost of wide values where the server was built with it; pglz is the fallback.
    has_lz4 = run("SELECT 'lz4' = ANY(enumvals) FROM pg_settings WHERE name = 'default_toast_compression'").scalar()
    run("ALTER TABLE hive.payload ALTER COLUMN body SET STORAGE EXTERNAL")
    for part in range(SHARED_PARTS):
        for table, column in (("honey", "data"), ("chunk", "text")):
            run(f"CREATE TABLE hive.{table}_{part} PARTITION OF hive.{table} FOR VALUES IN ({part})")
            if has_lz4:
                run(f"ALTER TABLE hive.{table}_{part} ALTER COLUMN {column} SET COMPRESSION lz4")
