"""`hive user`: accounts of the pages, from the command line."""

from __future__ import annotations

import pytest

from hive.dashboard.accounts import matches
from hive.ledger.db import Database
from tests.hive.command import bare_hive, hive_command

__all__ = ["bare_hive", "hive_command"]

PASSWORD = "made-up-password"


@pytest.fixture
def stored(database_url):
    """The password's hash of an account."""

    def look(name: str) -> str | None:
        db = Database(database_url)
        try:
            with db.transaction() as tx:
                row = tx.psycopg.execute("SELECT password FROM hive.account WHERE name = %s", [name]).fetchone()
        finally:
            db.close()
        return row[0] if row else None

    return look


def test_an_account_is_added_listed_changed_and_removed(hive, stored):
    assert hive("user", "add", "vera", stdin=f"{PASSWORD}\n").err == "vera: added, viewer\n"
    assert matches(PASSWORD, stored("vera"))
    assert hive("user", "add", "vera", "--role", "operator", stdin=f"{PASSWORD}2").err == "vera: changed, operator\n"
    assert not matches(PASSWORD, stored("vera"))

    (found,) = hive("user", "list", "--json").json
    assert (found["name"], found["role"], found["seen_at"]) == ("vera", "operator", None)
    assert "password" not in found
    assert hive("user", "remove", "vera").code == 0
    assert hive("user", "list", "--json").json == []
    assert stored("vera") is None


def test_the_login_that_hive_up_prints_is_listed_first_and_without_its_password(hive):
    hive.set({"HIVE_FLOWER_LOGIN": f"operator:{PASSWORD}"})
    hive("user", "add", "vera", stdin=f"{PASSWORD}\n")

    told = hive("user", "list", "--json")

    assert [(one["name"], one["role"], one["made_by"]) for one in told.json] == [
        ("operator", "operator", "hive up"),
        ("vera", "viewer", "hive user add"),
    ]
    assert PASSWORD not in told.out + hive("user", "list").out


@pytest.mark.parametrize(
    ("arguments", "password", "said"),
    [
        (["add", "vera"], "short", "has 5 characters, and needs 10"),
        (["add", "operator"], PASSWORD, "is the login that `hive up` prints"),
        (["add", "vera", "--role", "queen"], PASSWORD, "there are viewer and operator"),
        (["remove", "vera"], "", "no account is named 'vera'"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_kept(hive, stored, arguments, password, said):
    told = hive("user", *arguments, stdin=password)

    assert told.code == 2
    assert said in " ".join(told.err.replace("│", " ").split())
    assert password not in told.err or not password
    assert stored("vera") is None


def test_who_made_an_account_is_written_down(hive):
    hive("user", "add", "vera", stdin=PASSWORD)

    (entry,) = [one for one in hive("vault", "audit", "--json").json if one["action"] == "user:add"]
    assert entry["body"] == {"account": "vera", "role": "viewer"}
    assert PASSWORD not in str(entry)
