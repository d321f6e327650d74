"""Places in a body that is sent."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from bees.core.errors import GiveUp
from bees.core.paths import put


@pytest.mark.parametrize(
    ("body", "name", "found"),
    [
        ({}, "after", {"after": 7}),
        ({"page": {"limit": 2}}, "page.cursor", {"page": {"limit": 2, "cursor": 7}}),
        ({"page": "first"}, "page.cursor", {"page": {"cursor": 7}}),
        ({"filters": [{"a": 1}, {"value": "0"}]}, "filters.1.value", {"filters": [{"a": 1}, {"value": 7}]}),
        ({"sort": ["a", "b"]}, "sort.0", {"sort": [7, "b"]}),
        ({"1": {"a": 1}}, "1.b", {"1": {"a": 1, "b": 7}}),
    ],
)
def test_what_stands_around_a_place_stays(body: dict[str, Any], name: str, found: dict[str, Any]) -> None:
    before = copy.deepcopy(body)
    sent = dict(body)
    put(sent, name, 7)

    assert sent == found
    assert body == before, "what it was made of is sent again with the next page"


@pytest.mark.parametrize("name", ["filters.1.value", "filters.value", "filters.-1", "filters.99999999"])
def test_a_place_that_no_list_has_is_named(name: str) -> None:
    with pytest.raises(GiveUp, match="holds a list of 1"):
        put({"filters": [{}]}, name, 7)
