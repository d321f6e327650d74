"""Old flights are found by their day, to be forgotten."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.get_bind().exec_driver_sql("CREATE INDEX flight_of_day ON hive.flight (day)")
