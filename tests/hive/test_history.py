"""What is old is forgotten, and never what somebody still needs."""

from __future__ import annotations

from hive.flight.verdict import Verdict
from hive.flight.work import put_back
from hive.janitor import Janitor
from tests.hive.nest import Nest, make_nest, nest, write

__all__ = ["make_nest", "nest"]


def flown(nest: Nest, times: int, name: str = "people") -> list[str]:
    """Ids of so many flights of a bee, oldest first, all made a year ago."""
    write(nest.register(name) / "a.jsonl", [{"id": 1}])
    found = [nest.land(name).flight for _ in range(times)]
    nest.run("UPDATE hive.flight SET created_at = created_at - interval '1 year', day = day - 365")
    nest.run("UPDATE hive.slot SET created_at = created_at - interval '1 year'")
    return found


def there(nest: Nest) -> list[str]:
    return [str(one) for (one,) in nest.rows("SELECT id FROM hive.flight ORDER BY created_at")]


def test_old_flights_go_with_their_slots_and_the_last_one_stays(nest):
    flights = flown(nest, 3)

    Janitor(nest.rt).tick()

    assert there(nest) == flights[-1:]
    assert [str(one) for (one,) in nest.rows("SELECT flight FROM hive.slot")] == flights[-1:]
    assert nest.jar()


def test_those_of_less_than_so_many_days_stay(make_nest):
    nest = make_nest(history_days=366)
    flights = flown(nest, 3)

    Janitor(nest.rt).tick()

    assert there(nest) == flights


def test_one_that_is_open_stays(nest):
    (old,) = flown(nest, 1)
    nest.run("UPDATE hive.flight SET state = 'running'")
    new = nest.fly()

    Janitor(nest.rt, works=False)._keep_house()

    assert there(nest) == [old, new]


def test_one_whose_records_lie_in_quarantine_stays(nest):
    write(nest.register() / "a.jsonl", [{"id": 1}])
    old = nest.fly()
    nest.drain(kinds=["plan", "collect"])
    task = nest.claim(nest.due("process")[0])
    error = {"class": "X", "code": "unreadable_batch", "message": "", "place": "", "advice": ""}
    with nest.rt.db.transaction() as tx:
        put_back(tx, task.hold(tx), nest.rt, Verdict(retry=False, after=0, counts=True, error=error), crashed=False)
    Janitor(nest.rt).tick()
    flights = flown(nest, 2)

    Janitor(nest.rt).tick()

    assert there(nest) == [old, flights[-1]]


def test_slots_that_were_left_out_go(nest):
    nest.register()
    nest.run(
        "INSERT INTO hive.slot (bee, slot_key, outcome, created_at) SELECT id, 'main@' || n, 'skipped:overlap',"
        " clock_timestamp() - make_interval(days => n) FROM hive.bee, unnest(ARRAY[1, 89, 91, 400]) AS n"
    )

    Janitor(nest.rt).tick()

    assert nest.rows("SELECT slot_key FROM hive.slot ORDER BY created_at") == [("main@89",), ("main@1",)]
