"""Secrets and personal data do not pass the last filter, in whatever encoding; what people need to read does."""

from __future__ import annotations

import base64
import html
import json
import logging
import subprocess
import sys
import uuid
from typing import Any
from urllib.parse import quote

import pytest

from hive import masking
from hive.logs import pattern
from hive.masking import LONGEST, MASK, masked, masked_text

SECRET = "p+ss/w'rd & 7ü"
PERSONAL = (
    "ada.lovelace@example.com", "202-555-0143", "+49 30 901820", "4111 1111 1111 1111", "DE89370400440532013000",
    "536-90-4399",
)  # fmt: skip


def encodings(text: str) -> dict[str, str]:
    return {
        "plain": text,
        "percent": quote(text, safe=""),
        "base64": base64.b64encode(text.encode()).decode(),
        "base64 of more": base64.b64encode(f"a:{text}!".encode()).decode(),
        "base64 for URLs": base64.urlsafe_b64encode(f"x:{text}".encode()).decode(),
        "hex": text.encode().hex(),
        "json": json.dumps(text)[1:-1],
        "html": html.escape(text),
        "escaped": "".join(f"\\u{ord(c):04x}" for c in text),
        "entities": "".join(f"&#{ord(c)};" for c in text),
    }


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setattr(masking, "_secrets", {})
    monkeypatch.setattr(masking, "_found", None)
    masking.remember(SECRET)


@pytest.mark.parametrize("how", encodings("x"))
def test_a_secret_is_found_in_every_encoding(known, how):
    told = encodings(SECRET)[how]

    shown = masked_text(f"the server said: {told} (at line 3)")

    assert told not in shown
    assert shown.startswith("the server said: ")
    assert MASK in shown


@pytest.mark.parametrize("how", encodings("x"))
@pytest.mark.parametrize("value", PERSONAL)
def test_personal_data_is_found_in_every_encoding(value, how):
    told = encodings(value)[how]

    assert told not in masked_text(f"row 7 holds {told} today")


@pytest.mark.parametrize(
    "text",
    [
        str(uuid.UUID("921e54bf-e94b-4cde-abb6-869d27f441e9")), "20261121.48213", "hive.flight.work:103",
        "default@2026-11-21T19:00:00+00:00", "host-1:4711:8f2a1c3b.4026531836.88123123",
        "HIVE_ANSWER_LIMIT", "127.0.0.1:5432/sales", "the server does not answer in time", "1234567890123",
        "/var/lib/hive/data/postgres-2026.log", "bees.database", "connector 'postgresql' refuses source.tls",
    ],
)  # fmt: skip
def test_what_people_need_to_read_stays(text):
    assert masked_text(text) == text


def test_the_password_of_an_address_goes():
    assert masked_text("postgresql://bee:hunter22@db.example.org/x") == f"postgresql://{MASK}@db.example.org/x"


def test_keys_that_name_a_secret_hide_what_they_hold():
    told = masked({"api_key": "x", "x-api-key": 7, "source": {"DB_PASSWORD": "y", "port": 5432, "keys": ["id"]}})

    assert told == {"api_key": MASK, "x-api-key": MASK, "source": {"DB_PASSWORD": MASK, "port": 5432, "keys": ["id"]}}


def test_a_secret_that_came_later_is_masked_too(known):
    masking.remember("another-secret")

    assert masked(["another-secret", SECRET, 3, None, True]) == [MASK, MASK, 3, None, True]


CANARY = "s3cr3t-canary-token-0123456789"


@pytest.mark.parametrize("told", [CANARY, quote(CANARY, safe=""), CANARY.encode().hex(), "jane.canary@example.com",
                                  "".join(f"\\u{ord(c):04x}" for c in "jane.canary@example.com")])  # fmt: skip
@pytest.mark.parametrize("more", ["", " and more words" * 1000])
def test_what_the_cut_goes_through_is_masked_first(known, told, more):
    """Wherever it stands: before the cut, across it, and across the end of what is looked at at all."""
    masking.remember(CANARY)
    for shown_of_it in range(1, len(told)):
        shown = masked_text("," * (LONGEST - 1 - shown_of_it) + f" {told}{more}")

        assert len(shown) <= LONGEST
        assert not shown.removesuffix(more[: len(shown)]).replace(MASK, "").strip(", *"), shown[-60:]


@pytest.mark.parametrize("told", [CANARY, CANARY.encode().hex(), "jane.canary@example.com"])
def test_masks_that_shorten_a_text_bring_no_piece_from_behind_the_cut(known, told):
    """Each mask is shorter than what it hides, so more of the text comes before the cut - up to a piece of a word."""
    masking.remember(CANARY)
    for first in range(0, 120, 7):
        shown = masked_text("," * first + f"{told} " * 2000)

        assert not shown.replace(MASK, "").strip(", *"), shown[-60:]


def test_a_long_text_is_shown_up_to_the_cut(known):
    words = "what was said " * 1000

    assert masked_text(words) == words[:LONGEST]
    assert masked_text(words[:LONGEST]) == words[:LONGEST]


def test_of_a_librarys_line_the_numbers_stay():
    record = logging.LogRecord("x", logging.WARNING, "", 1, "gave %s to %r after %d of %.1f s (%d %%)",
                               ("ada@example.com", {"a": 1}, 3, 2.5, 50), None)  # fmt: skip

    assert pattern(record) == "gave ... to ... after 3 of 2.5 s (50 %)"


LIBRARY = """
import logging
log = logging.getLogger("lib")
FIXED = "this is said as it is"
def speak(value, count):
    log.warning(f"could not read {value} after {count} tries")
    log.warning("no answer from %s" % value)
    log.error("a wrong {} at {}".format("thing", value))
    log.log(logging.ERROR, "it said " + value)
    log.warning(value)
    log.warning(FIXED)
    log.warning(
        f"over several lines "
        f"{value}")
    log.warning(f"{value}: in %s", value)
"""


@pytest.mark.parametrize("how", encodings("x"))
def test_what_a_library_puts_into_its_words_is_left_out_whatever_it_is(how, tmp_path):
    """A name, which no form betrays."""
    file = tmp_path / "lib.py"
    file.write_text(LIBRARY)
    scope: dict[str, Any] = {}
    exec(compile(LIBRARY, str(file), "exec"), scope)
    records: list[logging.LogRecord] = []
    logger = logging.getLogger("lib")
    logger.propagate = False
    logger.addHandler(handler := logging.Handler())
    handler.emit = records.append  # type: ignore[method-assign]
    try:
        scope["speak"](encodings("Zoë Quillfeather")[how], 3)
    finally:
        logger.removeHandler(handler)
        logger.propagate = True

    assert [pattern(record) for record in records] == [
        "could not read ... after ... tries", "no answer from ...", "a wrong ... at ...", "it said ...", "...",
        "this is said as it is", "over several lines ...", "...: in ...",
    ]  # fmt: skip


def test_a_process_writes_json_and_nothing_of_what_went_wrong(tmp_path):
    code = (
        "import logging, structlog, threading, warnings\nfrom hive.logs import configure\nconfigure()\n"
        "log = structlog.get_logger()\n"
        "structlog.contextvars.bind_contextvars(flight='f-1', bee='people')\n"
        "log.info('task.done', mail='ada@example.com', rows=3)\n"
        "logging.getLogger('lib').warning('could not read %s', 'ada@example.com')\n"
        "warnings.warn('ada@example.com')\n"
        "try:\n    raise ValueError('ada@example.com')\nexcept ValueError:\n"
        "    log.exception('it failed')\n    logging.getLogger('lib').exception('it failed, too')\n"
        "def fail(): raise KeyError('ada@example.com')\n"
        "thread = threading.Thread(target=fail); thread.start(); thread.join()\n"
        "fail()\n"
    )
    environment = {"PYTHONPATH": ":".join(sys.path), "HIVE_DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60, env=environment
    )

    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert "ada" not in done.stderr
    assert done.stdout == ""
    assert [line["event"] for line in lines] == [
        "task.done", "could not read ...", "python.warning", "it failed", "it failed, too", "thread.failed",
        "process.failed",
    ]  # fmt: skip
    assert (lines[0]["flight"], lines[0]["bee"], lines[0]["mail"], lines[0]["rows"]) == ("f-1", "people", MASK, 3)
    assert [line.get("kind") for line in lines[3:]] == ["ValueError", "ValueError", "KeyError", "KeyError"]
