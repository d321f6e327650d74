"""The `graphql` bee against a server that others wrote: postgraphile, which makes connections of tables by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bees.core.errors import GiveUp
from bees.graphql import GraphqlBee
from nectar.batch import Batch
from tests.bees.contract import rows
from tests.servers.web import postgraphile

pytestmark = pytest.mark.servers

TABLES = """
CREATE TABLE person (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE ticket (id int PRIMARY KEY, person_id int NOT NULL REFERENCES person, title text,
                     amount numeric, large bigint, told jsonb, changed timestamptz NOT NULL);
CREATE INDEX ON ticket (person_id);
CREATE INDEX ON ticket (changed);
INSERT INTO person SELECT n, 'person ' || n FROM generate_series(1, 3) n;
INSERT INTO ticket SELECT n, n % 3 + 1, 'ticket ' || n, n + 0.10, 9007199254740993 + n, '{"a": [1, null]}',
       timestamptz '2026-03-01 12:00Z' + n * interval '1 minute' FROM generate_series(1, 25) n;
CREATE VIEW note AS SELECT id, title FROM ticket ORDER BY id;
"""
TICKETS = """query Tickets($after: Cursor, $first: Int = 7) {
  allTickets(first: $first, after: $after, orderBy: [CHANGED_ASC, ID_ASC]) {
    totalCount pageInfo { hasNextPage endCursor }
    edges { cursor node { id title amount large told changed personByPersonId { name } } }
  } }"""
PEOPLE = """query People($after: Cursor) {
  allPeople(first: 2, after: $after, orderBy: ID_ASC) { pageInfo { hasNextPage endCursor } nodes {
    nodeId id name tickets: ticketsByPersonId(first: 4, orderBy: ID_ASC) {
      pageInfo { hasNextPage endCursor } nodes { id } } } } }"""
MORE = """query More($id: ID!, $after: Cursor) { person(nodeId: $id) {
  tickets: ticketsByPersonId(first: 4, after: $after, orderBy: ID_ASC) {
    pageInfo { hasNextPage endCursor } nodes { id } } } }"""


@pytest.fixture
def url(empty_database_url: str, tmp_path: Path) -> Iterator[str]:
    with psycopg.connect(empty_database_url, autocommit=True) as database:
        database.execute(TABLES)
    with postgraphile(tmp_path, empty_database_url) as address:
        yield address


def bee(url: str, **streams: Any) -> GraphqlBee:
    return GraphqlBee.from_options({"url": url, "allow_private": True, "streams": streams})


def read(made: GraphqlBee, stream: str, cursor: Any = None) -> list[Batch]:
    return list(made.collect_nectar(stream, cursor))


def test_connections_of_a_stranger_are_read_whole_with_their_types(url: str) -> None:
    tickets = {"query": TICKETS, "connection": "allTickets", "key": "id"}
    people = {"query": PEOPLE, "connection": "allPeople", "key": "id"}
    people["nested"] = {"tickets": {"query": MORE, "connection": "person.tickets", "parent_field": "nodeId"}}
    with bee(url, tickets=tickets, people=people) as made:
        kinds = {c.name: c.kind for c in made.get_pollen_schema()[0].columns}
        found, humans = read(made, "tickets"), read(made, "people")
        half = read(made, "tickets", found[1].cursor)

    assert (kinds["id"], kinds["title"], kinds["personByPersonId"]) == ("integer", "text", "json")
    assert [row["id"] for row in rows(found)] == list(range(1, 26))
    assert [batch.table.num_rows for batch in found] == [7, 7, 7, 4]
    assert rows(found)[0]["large"] == "9007199254740994", "the server writes what JavaScript cannot hold as text"
    assert rows(found)[0]["amount"] == "1.10"
    assert [row["id"] for row in rows(half)] == list(range(15, 26))
    assert {row["id"]: [t["id"] for t in row["tickets"]] for row in rows(humans)} == {
        n: [t for t in range(1, 26) if t % 3 + 1 == n] for n in (1, 2, 3)
    }


@pytest.mark.parametrize(("connection", "counts"), [("allNotes", True), ("allTickets", False)])
def test_a_row_that_goes_away_between_two_pages_of_a_stranger_takes_no_other_with_it(
    url: str, empty_database_url: str, connection: str, counts: bool
) -> None:
    """A view has no key: its cursors count rows, those of the table name the last one. Ids have no hole at first."""
    query = f"""query($after: Cursor) {{ {connection}(first: 7, after: $after) {{
        pageInfo {{ hasNextPage endCursor }} nodes {{ id title }} }} }}"""
    with bee(url, tickets={"query": query, "connection": connection, "key": "id"}) as made:
        pages = made.collect_nectar("tickets", None)
        found = [next(pages)]
        with psycopg.connect(empty_database_url, autocommit=True) as database:
            database.execute("DELETE FROM ticket WHERE id = 1")
        found += pages
        again = read(made, "tickets", found[-1].cursor)

    assert ({row["id"] for row in rows(found)} >= set(range(2, 26))) is not counts
    assert found[-1].complete is not counts
    assert {row["id"] for row in rows(again)} == set(range(2, 26))
    assert again[-1].complete


def test_a_stranger_s_errors_have_a_name(url: str) -> None:
    wrong = {"query": TICKETS.replace("title", "titel"), "connection": "allTickets", "key": "id"}
    with bee(url, tickets=wrong) as made, pytest.raises(GiveUp) as error:
        read(made, "tickets")

    assert error.value.code == "graphql_error"
    assert "at line 4, column" in str(error.value)
    assert "titel" not in str(error.value)
