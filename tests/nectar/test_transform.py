"""Steps of a user's own: what they may do to records, and what becomes of records that they stumble over."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib
import json
import sys
import time
from decimal import Decimal
from types import MappingProxyType, SimpleNamespace

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings, strategies

from nectar.batch import mark_of, marked
from nectar.encode import encode
from nectar.jsonrows import table as json_table
from nectar.pipeline import refine
from nectar.transform import BadTransform, Transform, check_step, records, version_of
from nectar.transform.steps import _text_hash

KEY = ("id",)


@pytest.fixture
def use(monkeypatch, tmp_path):
    """`use(function)` gives the name under which a configuration would call it."""
    (tmp_path / "test_steps.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("test_steps")
    yield lambda function: setattr(module, function.__name__, function) or f"test_steps:{function.__name__}"
    sys.modules.pop("test_steps")
    _text_hash.cache_clear()


def people(count: int = 6) -> pa.Table:
    return pa.table({"id": list(range(count)), "name": [f"name {n}" for n in range(count)]})


def apply(*steps, table=None):
    return Transform.of(steps).apply(people() if table is None else table, KEY)


def held(table: pa.Table) -> list[dict]:
    """As the jar will hold it."""
    return [json.loads(text, parse_float=Decimal) for text in encode(table)[0]]


class TestTables:
    def test_a_step_changes_adds_and_removes_columns(self, use):
        def tidy(table, ending):
            upper = pa.array([f"{n}{ending}".upper() for n in table["name"].to_pylist()])
            return table.drop_columns(["name"]).append_column("who", upper)

        done = apply({"use": use(tidy), "options": {"ending": "!"}}, table=people(2))

        assert done.table.to_pylist() == [{"id": 0, "who": "NAME 0!"}, {"id": 1, "who": "NAME 1!"}]
        assert (done.rows, done.dropped, done.failed) == ([0, 1], [], {})

    def test_steps_follow_each_other_and_rows_keep_their_places(self, use):
        def evens(table):
            return table.filter(pa.array([n % 2 == 0 for n in table["id"].to_pylist()]))

        def backwards(table):
            return table.take(pa.array(range(table.num_rows - 1, -1, -1)))

        done = apply(use(evens), use(backwards))

        assert done.table["id"].to_pylist() == done.rows == [4, 2, 0]
        assert done.dropped == [1, 3, 5]

    def test_reserved_columns_are_not_shown(self, use):
        def names(table):
            seen.append(table.column_names)
            return table

        seen: list[list[str]] = []
        apply(use(names), table=people().append_column("_op", pa.array(["upsert"] * 6)))

        assert seen == [["id", "name"]]

    def test_a_key_of_another_type_is_the_key_it_was(self, use):
        def wide(table):
            return table.set_column(0, "id", table["id"].cast(pa.float64()))

        assert apply(use(wide)).table.schema.field("id").type == pa.int64()

    def test_encoded_text_comes_out_plain(self, use):
        def encoded(table):
            made = table.append_column("kind", pa.array(["a"] * table.num_rows).dictionary_encode())
            return made.append_column("wide", pa.array(["b"] * table.num_rows, pa.large_string()))

        schema = apply(use(encoded)).table.schema

        assert [schema.field(n).type for n in ("kind", "wide")] == [pa.string(), pa.string()]


class TestRecords:
    def test_a_step_gets_a_dict_and_gives_one_or_none(self, use):
        @records
        def some(record, least):
            return {**record, "length": len(record["name"])} if record["id"] >= least else None

        done = apply({"use": use(some), "options": {"least": 4}})

        assert done.table.to_pylist() == [
            {"id": 4, "name": "name 4", "length": 6}, {"id": 5, "name": "name 5", "length": 6}
        ]  # fmt: skip
        assert (done.rows, done.dropped) == ([4, 5], [0, 1, 2, 3])

    def test_values_are_plain_python_and_exact(self, use):
        @records
        def look(record):
            seen.append(record)
            return record

        seen: list[dict] = []
        fields = [("id", "1"), ("doc", '{"a": [1, 2.50]}'), ("big", "123456789012345678901"), ("exact", "1.10")]
        marks = {"doc": "json", "big": "number", "exact": "number"}
        schema = pa.schema(
            [marked(n, pa.string(), marks[n]) if n in marks else pa.field(n, pa.string()) for n, _ in fields]
        )
        given = pa.table([pa.array([text]) for _, text in fields], schema=schema)
        done = apply(use(look), table=given)

        assert seen == [
            {"id": "1", "doc": {"a": [1, Decimal("2.50")]}, "big": 123456789012345678901, "exact": Decimal("1.10")}
        ]
        assert done.table.equals(given, check_metadata=True)

    def test_what_was_left_alone_keeps_its_type(self, use):
        @records
        def name(record):
            return {**record, "name": record["name"].upper()}

        table = (
            people().append_column("n", pa.array([1] * 6, pa.int8())).append_column("s", pa.array([{"a": None}] * 6))
        )

        assert apply(use(name), table=table).table.drop_columns("name").equals(table.drop_columns("name"))

    def test_a_change_inside_of_an_object_is_seen(self, use):
        @records
        def deep(record):
            record["of"]["n"] = True
            return record

        table = json_table([{"id": 1, "of": {"n": 1}}, {"id": 2, "of": {"n": 1}}])

        assert [row["of"] for row in held(apply(use(deep), table=table).table)] == [{"n": True}, {"n": True}]

    @pytest.mark.parametrize(
        ("value", "kept"),
        [
            (Decimal("1.10"), Decimal("1.10")),
            (10**30, 10**30),
            (dt.date(2026, 1, 2), "2026-01-02"),
            (b"\x00\xff", "AP8="),
            ([1, "a", None], [1, "a", None]),
            ({"a": {"b": [1.5]}}, {"a": {"b": [Decimal("1.5")]}}),
            (("a", 1), ["a", 1]),
            (float("nan"), "NaN"),
            ("x\x00y", "x\ufffdy"),
        ],
    )
    def test_new_values_are_held_exactly(self, use, value, kept):
        @records
        def add(record):
            return {**record, "new": value}

        assert held(apply(use(add), table=people(1)).table)[0]["new"] == kept

    def test_values_of_several_kinds_stand_in_one_field(self, use):
        @records
        def add(record):
            return {**record, "new": [1, "a", None, dt.date(2026, 1, 2), Decimal("0.1"), [1]][record["id"]]}

        table = apply(use(add)).table

        assert mark_of(table.schema.field("new")) == "json"
        assert [row["new"] for row in held(table)] == [1, "a", None, "2026-01-02", Decimal("0.1"), [1]]

    def test_fields_that_some_records_lack_are_null(self, use):
        @records
        def odd(record):
            return {**record, "odd": "yes"} if record["id"] % 2 else record

        assert apply(use(odd)).table["odd"].to_pylist() == [None, "yes"] * 3

    @pytest.mark.parametrize("value", [object(), "\ud800", {"a": object()}, [b"x"], 1j])
    def test_a_value_that_no_jar_takes_fails_its_record_alone(self, use, value):
        @records
        def add(record):
            return {**record, "new": value if record["id"] == 3 else "fine"}

        done = apply(use(add))

        assert done.rows == [0, 1, 2, 4, 5]
        assert list(done.failed) == [3]
        assert "which no jar takes" in done.failed[3]


class TestFailures:
    @pytest.mark.parametrize("by_record", [True, False])
    def test_only_the_guilty_records_fail_and_no_value_is_told(self, use, by_record):
        def stumble(given):
            ids = [given["id"]] if by_record else given["id"].to_pylist()
            if {7, 300, 301} & set(ids):
                raise ValueError("canary 4711")
            return given

        done = apply(use(records(stumble) if by_record else stumble), table=people(1000))

        assert done.failed == dict.fromkeys([7, 300, 301], "the transformer 'test_steps:stumble' raised ValueError")
        assert done.rows == done.table["id"].to_pylist() == [n for n in range(1000) if n not in (7, 300, 301)]

    def test_a_program_that_ends_is_a_failure_too(self, use):
        def leave(_):
            sys.exit(3)

        assert set(apply(use(leave)).failed) == set(range(6))

    def test_parts_of_a_batch_that_differ_in_what_nulls_leave_open_are_joined(self, use):
        def odd(table):
            if 3 in table["id"].to_pylist():
                raise ValueError
            values = [None if n < 3 else "x" for n in table["id"].to_pylist()]
            return table.append_column("odd", pa.array(values))

        done = apply(use(odd))

        assert done.table["odd"].to_pylist() == [None, None, None, "x", "x"]
        assert done.rows == [0, 1, 2, 4, 5]

    @pytest.mark.parametrize(
        ("wrong", "told"),
        [
            (lambda _: None, "gave a NoneType, expected a pyarrow Table"),
            (lambda t: t.to_pylist(), "gave a list, expected a pyarrow Table"),
            (lambda t: t.drop_columns(["id"]), "lost the column 'id', which is of the record's key"),
            (lambda t: pa.concat_tables([t, t]), "gave more records than it got"),
            (lambda t: t.set_column(0, "id", pa.array(range(9, 9 + t.num_rows))), "changed a record's key (id)"),
            (lambda t: t.append_column("name", t["name"]), "gave several columns of one name"),
            (lambda t: t.append_column("_op", t["name"]), 'a column whose name begins with "_"'),
        ],
    )
    def test_a_function_that_gives_no_such_table_is_named(self, use, wrong, told):
        def function(table):
            return wrong(table)

        with pytest.raises(BadTransform) as caught:
            apply(use(function))

        assert str(caught.value).startswith("the transformer 'test_steps:function' ")
        assert told in str(caught.value)

    def test_what_it_gives_wrongly_for_some_is_their_failure(self, use):
        def once(table):
            return table if 3 not in table["id"].to_pylist() else None

        done = apply(use(once))

        assert done.failed == {3: "the transformer 'test_steps:once' gave a NoneType, expected a pyarrow Table"}
        assert done.rows == [0, 1, 2, 4, 5]

    @pytest.mark.parametrize(
        ("wrong", "told"),
        [
            (lambda r: "x", "gave a str for a record, expected a dict, or None to drop it"),
            (lambda r: {"name": r["name"]}, "lost the field 'id'"),
            (lambda r: {**r, "id": str(r["id"])}, "changed the field 'id'"),
            (lambda r: {**r, "_x": 1}, 'a new field is named with "_" in front'),
            (lambda r: {**r, 5: 1}, "a name of a field is of type int"),
        ],
    )
    def test_a_function_that_gives_no_such_record_is_named(self, use, wrong, told):
        @records
        def function(record):
            return wrong(record)

        with pytest.raises(BadTransform) as caught:
            apply(use(function))

        assert told in str(caught.value)

    def test_one_given_twice_is_refused(self, use):
        def twice(table):
            return table.take(pa.array([0, 0])) if table.num_rows > 1 else pa.concat_tables([table, table])

        with pytest.raises(BadTransform, match=r"gave (a record twice|more records)"):
            apply(use(twice))


class TestFates:
    @given(
        whats=strategies.lists(strategies.sampled_from(["keep", "drop", "raise", "nothing"]), min_size=1, max_size=40),
        by_record=strategies.booleans(),
        backwards=strategies.booleans(),
    )
    @settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    def test_every_record_has_exactly_one_and_its_own_values(self, use, whats, by_record, backwards):
        def one(record):
            what = whats[record["id"]]
            if what == "raise":
                raise KeyError(what)
            return {"keep": {**record, "name": f"{record['id']}!"}, "drop": None, "nothing": 5}[what]

        def many(table):
            rows = [one(row) for row in table.to_pylist()]
            if 5 in rows:
                return None
            kept = [row for row in rows if row is not None]
            return pa.Table.from_pylist(kept[::-1] if backwards else kept, schema=table.schema)

        places = {what: [n for n, found in enumerate(whats) if found == what] for what in whats}
        if len(places.get("nothing", [])) == len(whats):
            with pytest.raises(BadTransform):
                apply(use(records(one) if by_record else many), table=people(len(whats)))
            return
        done = apply(use(records(one) if by_record else many), table=people(len(whats)))

        assert sorted(done.rows) == places.get("keep", [])
        assert sorted(done.dropped) == places.get("drop", [])
        assert sorted(done.failed) == sorted(places.get("raise", []) + places.get("nothing", []))
        assert done.table["id"].to_pylist() == done.rows
        assert done.table["name"].to_pylist() == [f"{n}!" for n in done.rows]


class TestTime:
    @pytest.mark.parametrize("by_record", [True, False])
    def test_the_record_on_which_a_function_hangs_fails_alone(self, use, by_record):
        def hang(given):
            while 5 in ([given["id"]] if by_record else given["id"].to_pylist()):
                with contextlib.suppress(Exception):
                    sum(range(1000))
            return given

        began = time.monotonic()
        done = apply({"use": use(records(hang) if by_record else hang), "timeout": 0.4}, table=people(64))

        assert done.failed == {5: "the transformer 'test_steps:hang' did not end in time"}
        assert len(done.rows) == 63
        assert time.monotonic() - began < 1.2 + 1.0

    def test_one_that_is_too_slow_for_all_is_named(self, use):
        def slow(table):
            while True:
                sum(range(1000))

        with pytest.raises(BadTransform) as caught:
            apply({"use": use(slow), "timeout": 0.1}, table=people(64))

        assert caught.value.code == "transform_timeout"
        assert "needs longer than its timeout of 0.1 seconds for 64 records" in str(caught.value)


class TestLoading:
    @pytest.mark.parametrize(
        ("step", "told"),
        [
            ("nonsense", "names no transformer, expected package.module:function"),
            ("no_such_module:x", "no module is named 'no_such_module': install its package, or put its folder"),
            ("json:dumbs", "the module 'json' has no function 'dumbs'; did you mean 'dumps'?"),
            ("decimal:Decimal", "is a type, expected a function"),
            ("sys:path", "is a list, expected a function"),
            ({"use": "json:dumps", "options": {"skipkey": 1}}, None),
            ({"use": 5}, 'a transformer is "module:function"'),
            ({"use": "json:dumps", "options": [1]}, 'a transformer is "module:function"'),
        ],
    )
    def test_a_step_that_cannot_be_used_says_why(self, step, told):
        if told is None:
            assert check_step(step).options == {"skipkey": 1}  # it takes any keyword
            return
        with pytest.raises(BadTransform, match=told.replace("?", r"\?")):
            check_step(step)

    def test_options_must_fit_the_function(self, use):
        def tidy(table, *, ending):
            return table

        with pytest.raises(BadTransform, match="called with a table and its options: missing a required"):
            check_step(use(tidy))
        with pytest.raises(BadTransform, match="unexpected keyword argument 'endin'"):
            check_step({"use": use(tidy), "options": {"ending": "!", "endin": "x"}})

    def test_a_function_of_records_that_is_not_marked_is_told_how(self, use):
        def tidy(record: dict[str, object]) -> dict[str, object]:
            return record

        with pytest.raises(BadTransform, match=r"mark it with @nectar\.transform\.records"):
            check_step(use(tidy))

    def test_a_module_that_is_broken_is_named_without_its_text(self, tmp_path, monkeypatch):
        (tmp_path / "broken_steps.py").write_text("x = 1\nraise RuntimeError('canary')\n")
        (tmp_path / "odd_steps.py").write_text("x = (\n")
        monkeypatch.syspath_prepend(tmp_path)

        with pytest.raises(BadTransform, match=r"'broken_steps:f' cannot be imported: RuntimeError$"):
            check_step("broken_steps:f")
        with pytest.raises(BadTransform, match=r"cannot be imported: SyntaxError, line 1$"):
            check_step("odd_steps:f")

    def test_coroutines_are_refused(self, use):
        async def later(table):
            return table

        with pytest.raises(BadTransform, match="expected a plain function"):
            check_step(use(later))

    def test_the_version_changes_with_options_and_text_and_with_nothing_else(self, tmp_path, monkeypatch):
        module = tmp_path / "version_steps.py"
        module.write_text("def f(table, n=1):\n    return table\n")
        monkeypatch.syspath_prepend(tmp_path)
        first = version_of(["version_steps:f"])

        assert version_of([{"use": "version_steps:f", "timeout": 5}]) == first
        assert version_of([{"use": "version_steps:f", "options": {"n": 2}}]) != first
        assert version_of(["version_steps:f", "version_steps:f"]) != first
        module.write_text("def f(table, n=1):\n    return table.slice(0)\n")
        _text_hash.cache_clear()
        assert version_of(["version_steps:f"]) != first
        sys.modules.pop("version_steps")
        _text_hash.cache_clear()


class _Scrubber:
    """Leaves all as it is."""

    def scrub(self, table, deadline=None):
        removed = pa.table({"row": pa.array([], pa.int32())})
        return SimpleNamespace(table=table, removed=removed, failed=MappingProxyType({}))


class TestPipeline:
    def test_fates_are_told_by_the_places_of_the_table_that_came_in(self, use):
        @records
        def some(record):
            if record["id"] == 2:
                raise ValueError
            return {**record, "name": "x" * (300 if record["id"] == 4 else 3)} if record["id"] != 3 else None

        table = people(7).set_column(1, "name", pa.array(["y" * 200, *"abcdef"]))
        refined = refine(
            table, _Scrubber(), document=False, value_limit=100, transform=Transform.of([use(some)]), key=KEY
        )

        assert refined.rows == [1, 5, 6]
        assert refined.failed == {0: "too_large", 2: "transform_failed", 4: "too_large"}
        assert refined.reasons == {2: "the transformer 'test_steps:some' raised ValueError"}
        assert refined.dropped == (3,)

    def test_the_scrubber_sees_what_a_step_made(self, use):
        from nectar.scrub import DataScrubber

        def leak(table):
            return table.append_column("mail", pa.array(["jane.doe@example.com"] * table.num_rows))

        scrubber = DataScrubber({"custom_rules": [{"field": "mail", "action": "replace"}]})
        refined = refine(
            people(2), scrubber, document=False, value_limit=1000, transform=Transform.of([use(leak)]), key=KEY
        )

        assert refined.table["mail"].to_pylist() == ["<REDACTED>"] * 2
