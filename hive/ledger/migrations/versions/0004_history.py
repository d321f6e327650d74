"""Old flights are found by their day, to be forgotten."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.get_bind().exec_driver_sql("CREATE INDEX flight_of_day ON hive.flight (day)")
