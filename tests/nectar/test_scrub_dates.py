"""Dates with the name of their month."""

from __future__ import annotations

import pytest

from nectar.keys import InMemoryKeys
from nectar.scrub import DataScrubber, detect


@pytest.mark.parametrize(
    "date",
    [
        "March 5, 2024", "5 Mar 2024", "5th of March 2024", "Mar. 5 2024", "5-Mar-2024", "march 5, 2024",
        "SEPT 1, 1999", "March 2024", "March 5", "5 March", "December 31st, 2023",
    ],
)  # fmt: skip
def test_a_date_with_a_month_by_name_is_found(date):
    text = f"seen on {date}; well"

    assert [text[f.start : f.end] for f in detect([text], ["DATE_TIME"])[0]] == [date]


@pytest.mark.parametrize(
    "text",
    [
        "you may 2 be right",
        "a march 5 miles long",
        "may 20 people come?",
        "May 300 be enough",
        "mars 5 2024",
        "Octopus 8",
    ],
)
def test_what_is_no_date_is_not(text):
    assert detect([text], ["DATE_TIME"]) == [[]]


def test_nobody_who_does_not_ask_for_dates_gets_them():
    assert detect(["March 5, 2024"], ["EMAIL_ADDRESS", "PHONE_NUMBER"]) == [[]]


def test_hipaa_leaves_the_year():
    scrubber = DataScrubber({"profile": "hipaa"}, InMemoryKeys())

    assert scrubber.process("Seen March 5, 2024 and 6 Mar 2024") == "Seen 2024 and 2024"
    values = [f"March {day}, {year}" for day in range(1, 29) for year in range(1990, 2020)]
    assert scrubber.process({"note": values})["note"] == [value[-4:] for value in values]


def test_a_month_is_said_only_where_it_is_known():
    own = {"pii_detection": ["DATE_TIME"], "actions": {"DATE_TIME": "generalise:month"}}
    scrubber = DataScrubber({"profile": "mine", "profiles": {"mine": own}})

    assert scrubber.process("5 Mar 2024") == "2024-03"
    assert scrubber.process("05/03/2024") == "2024"
    assert scrubber.process("25/03/2024") == "2024-03"
