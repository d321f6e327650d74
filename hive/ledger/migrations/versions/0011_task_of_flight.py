"""Tasks are found by their flight: what closes one no longer reads all of the day."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.get_bind().exec_driver_sql("CREATE INDEX task_of_flight ON hive.task (flight); DROP INDEX hive.task_open;")
