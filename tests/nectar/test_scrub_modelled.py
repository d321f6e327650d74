"""Names of people, places and organisations: found by a language model, and only where somebody asks."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from nectar.deadline import Deadline
from nectar.errors import BadProfile, SkipRecord
from nectar.keys import InMemoryKeys
from nectar.scrub import DataScrubber, detect
from nectar.scrub.find import engine, names
from nectar.scrub.find import entities as e

ROOT = Path(__file__).parents[2]
TEXT = "Jane Doe lives in Berlin and works for Acme Corp with her German friend Bob Smith."


@pytest.fixture(autouse=True)
def empty_cache():
    engine.cache.clear()


def found(text, entities=e.MODELLED, **given):
    (findings,) = detect([text], entities, **given)
    return [(f.entity_type, text[f.start : f.end]) for f in findings]


def scrubber(**actions):
    profile = {"pii_detection": list(actions), "actions": actions}
    return DataScrubber({"profile": "own", "profiles": {"own": profile}}, InMemoryKeys())


def test_each_kind_is_found():
    assert found(TEXT) == [
        ("PERSON", "Jane Doe"), ("LOCATION", "Berlin"), ("ORGANIZATION", "Acme Corp"), ("NRP", "German"),
        ("PERSON", "Bob Smith"),
    ]  # fmt: skip


def test_only_what_is_asked_for():
    assert found(TEXT, ["PERSON"]) == [("PERSON", "Jane Doe"), ("PERSON", "Bob Smith")]
    assert "PERSON" not in {f.entity_type for f in detect([TEXT])[0]}


def test_offsets_are_those_of_the_whole_text():
    text = f"\n  größe 😀\r\n\n   {TEXT}\n-- \n{TEXT}"

    assert found(text) == found(TEXT) * 2


def test_equal_lines_of_several_texts_are_all_found():
    first, second, third = detect([f"a b\n{TEXT}", TEXT, "nothing here to see"], ["PERSON"])

    assert [(f.start - 4, f.end - 4) for f in first] == [(f.start, f.end) for f in second]
    assert third == []


def test_a_long_line_is_read_to_its_end():
    text = "word " * 5000 + TEXT + " more" * 5000

    assert [span for kind, span in found(text, ["PERSON"])] == ["Jane Doe", "Bob Smith"]


@pytest.mark.parametrize(
    ("field", "value", "entity", "hit"),
    [
        ("first_name", "Jane", "PERSON", True),
        ("customer.lastName", "O'Neill-Müller", "PERSON", True),
        ("surname", "Łukasiewicz", "PERSON", True),
        ("first_name", "12", "PERSON", False),
        ("product_name", "Jane", "PERSON", False),
        ("city", "Gdynia", "LOCATION", True),
        ("home_address", "12 Main St.", "LOCATION", True),
        ("ip_address", "10.0.0.1", "LOCATION", False),
        ("email_address", "bob@example.com", "LOCATION", False),
        ("mac_address", "00:1B:44:11:3A:B7", "LOCATION", False),
        ("employer", "4711 GmbH", "ORGANIZATION", True),
        ("employer_id", "4711", "ORGANIZATION", False),
    ],
)
def test_a_fields_name_tells_of_names_that_stand_alone(field, value, entity, hit):
    assert ((entity, value) in found(value, [entity], context=[field])) == hit


def test_a_pattern_wins_over_the_model():
    made = scrubber(organizations="remove", email_addresses="replace", places="replace")

    assert made.process("write to jane@berlin.com or visit Berlin, Germany") == (
        "write to <EMAIL_ADDRESS> or visit <LOCATION>, <LOCATION>"
    )


def test_tables_and_objects_agree():
    made = scrubber(names="replace", places="remove")
    rows = [{"first_name": "Jane", "note": TEXT, "n": 1}, {"first_name": "Bob", "note": "no one is here", "n": 2}]

    assert made.process(pa.Table.from_pylist(rows)).to_pylist() == [made.process(row) for row in rows]
    assert made.process(rows[0])["first_name"] == "<PERSON>"
    assert made.process(rows[0])["note"].startswith("<PERSON> lives in  and works for Acme Corp")


def test_without_the_model_the_profile_is_refused_at_once(monkeypatch):
    monkeypatch.setattr(names, "find_spec", lambda name: None)

    with pytest.raises(BadProfile, match=r"PERSON takes a language model .* pip install worker-bees\[names\]"):
        scrubber(names="replace")
    with pytest.raises(BadProfile, match="LOCATION"):
        detect(["x"], ["LOCATION"])
    assert scrubber(email_addresses="remove").process("a@b.com") == ""


def test_the_model_is_not_loaded_before_somebody_asks():
    code = (
        "import sys; from nectar.scrub import DataScrubber, detect\n"
        "detect(['Jane Doe of Berlin, a@b.com'])\n"
        f"assert '{names.MODEL_PACKAGE}' not in sys.modules\n"
        "from nectar.scrub.find import names; assert names._model.cache_info().currsize == 0\n"
        "detect(['12', ''], ['PERSON']); assert names._model.cache_info().currsize == 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_threads_read_one_after_the_other():
    texts = [f"Jane Doe{i} met Bob Smith in Paris about order {i}." for i in range(60)]
    expected = detect(texts, ["PERSON", "LOCATION"])
    engine.cache.clear()
    results = {}

    def work(n):
        results[n] = detect(texts[n::3], ["PERSON", "LOCATION"])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(results[n] == expected[n::3] for n in range(3))


def test_the_store_of_words_does_not_grow():
    detect([TEXT], ["PERSON"])
    vocabulary = names._model().vocab
    before = len(vocabulary.strings), len(list(vocabulary))
    detect([f"Mrs Xq{i}zu met Mr Vw{i}ke in Ort{i}stadt yesterday." for i in range(300)], ["PERSON"])

    assert (len(vocabulary.strings), len(list(vocabulary))) == before


def test_a_text_that_takes_too_long_fails_and_the_others_do_not():
    ticks = iter(range(10_000))
    deadline = Deadline(2.0, lambda: float(next(ticks)))
    long = "\n".join(f"Jane Doe{i} came home late." for i in range(names._BATCH * 5))
    scans = names.find([long, TEXT], ["PERSON"], deadline)

    assert scans[0].code == "scan_timed_out"
    assert [TEXT[h.start : h.end] for h in scans[1]] == ["Jane Doe", "Bob Smith"]


def test_nothing_passes_that_could_not_be_read(monkeypatch):
    def broken(lines):
        raise RuntimeError("model")

    monkeypatch.setattr(names, "_read", broken)

    with pytest.raises(SkipRecord) as caught:
        detect([TEXT], ["PERSON"])
    assert caught.value.code == "recogniser_failed"


def test_warming_loads_the_model_where_it_will_be_needed():
    code = (
        "from nectar.scrub import warm; from nectar.scrub.find import names\n"
        "warm(); assert names._model.cache_info().currsize == 0\n"
        "warm(['PERSON']); assert names._model.cache_info().currsize == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
