"""What a trace may hold of a statement, and what spans cost where nobody collects them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bees.core import spans


@pytest.mark.parametrize(
    ("statement", "shape"),
    [
        ("SELECT a FROM t WHERE m = 'ada@example.com' AND n > 42", "SELECT a FROM t WHERE m = ? AND n > ?"),
        ("SELECT 'it''s', E'a\\'secret', 'x\\', 'secret'", "SELECT ?, ?, ?, ?"),
        ('SELECT "it\'s" FROM t2 WHERE "x 1" = \'secret\'', 'SELECT "it\'s" FROM t2 WHERE "x 1" = ?'),
        ("SELECT $q$it's secret$q$, $$secret$$ -- secret\n, 1", "SELECT ?, ? , ?"),
        ("SELECT 1 /* it's secret */ + 2.5e10", "SELECT ? + ?"),
        ("SELECT 'secret", "SELECT ?"),
        ("SELECT * FROM t -- secret", "SELECT * FROM t"),
        ("SELECT encode(sha256(x), 'hex')", "SELECT encode(sha256(x), ?)"),
        ("SELECT B'101', X'ff', N'secret'", "SELECT B?, X?, N?"),
        ("SELECT t1.c2 FROM t1", "SELECT t1.c2 FROM t1"),
    ],
)
def test_a_shape_of_postgresql_holds_no_literal(statement, shape):
    assert spans.shape(statement) == shape


@pytest.mark.parametrize(
    ("statement", "shape"),
    [
        (
            "SELECT `it's` WHERE m = \"secret\" AND n = 'a\\'secret'",
            "SELECT `it's` WHERE m = ? AND n = ?",
        ),
        ("SELECT 1 # secret\nFROM t", "SELECT ? FROM t"),
        ("SELECT \"it's\", 'secret'", "SELECT ?, ?"),
    ],
)
def test_a_shape_of_mysql_holds_no_literal(statement, shape):
    assert spans.shape(statement, mysql=True) == shape


def test_a_shape_is_short():
    assert len(spans.shape("SELECT " + ", ".join(f"column_{n}" for n in range(1000)))) == spans.LONGEST


def test_without_a_collector_a_span_is_nothing():
    assert not spans.wanted()
    assert spans.span("connector.rest.request") is spans.query("SELECT 1", "postgresql")
    with spans.span("connector.rest.request") as tell:
        tell({"http.status_code": 200})


def test_where_no_endpoint_is_set_opentelemetry_is_not_even_imported():
    code = (
        "import sys, uuid\nimport hive.tasks, hive.beat, hive.gateway.serve\nfrom hive.telemetry import traces\n"
        "traces.created(uuid.uuid4(), 'people', 'slot')\ntraces.failed('x')\ntraces.stop()\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "[]"
