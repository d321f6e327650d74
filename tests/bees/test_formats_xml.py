"""XML as rows: streamed, resumed, and without anything that the file declares or points to."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from bees.core.formats import Part, Reading, read_rows
from bees.local import LocalBee


def parts(text: str | bytes, place: Any = None, **how: Any) -> list[Part]:
    data = text.encode() if isinstance(text, str) else text
    return list(read_rows(io.BytesIO(data), "x.xml", Reading(format="xml", **how), place))


def rows(found: list[Part]) -> list[dict[str, Any]]:
    return [row for part in found for row in part.table.to_pylist()]


def codes(found: list[Part]) -> list[tuple[str, str]]:
    return [(reject.position, reject.code) for part in found for reject in part.rejects]


def test_elements_inside_the_root_are_rows() -> None:
    text = """<o:orders xmlns:o="urn:o" day="1">
      <o:order id="7"><customer>Ann</customer><line>a</line><line>b</line></o:order>
      <!-- a word --><order id="8"><customer>Bo<b>ld</b></customer><to><city>Rom</city></to>late</order>
      <note>just text</note><empty/>
    </o:orders>"""

    found = [{name: value for name, value in row.items() if value is not None} for row in rows(parts(text))]
    assert [{name: row[name] for name in row if not name.startswith("source")} for row in found] == [
        {"id": "7", "customer": '"Ann"', "line": ["a", "b"]},
        {"id": "8", "customer": '{"b":"ld","text":"Bo"}', "to": {"city": "Rom"}, "text": "late"},
        {"text": "just text"},
        {},
    ]
    assert [row["source_row"] for row in rows(parts(text))] == [1, 2, 3, 4]


def test_rows_may_stand_anywhere_and_are_known_by_name() -> None:
    text = "<a><b><item n='1'><item n='2'/></item></b><c><item n='3'/><other n='4'/></c></a>"

    assert [row["n"] for row in rows(parts(text, element="item"))] == ["1", "3"]


def test_reading_goes_on_after_any_part_and_a_million_elements_are_not_held() -> None:
    text = "<r>" + "".join(f"<i><n>{n}</n></i>" for n in range(1000)) + "</r>"

    found = parts(text, batch_rows=300)

    assert [len(part.table) for part in found] == [300, 300, 300, 100]
    assert [row["n"] for row in rows(parts(text, found[1].place, batch_rows=300))] == [str(n) for n in range(600, 1000)]


def test_what_is_no_xml_or_declares_entities_is_told() -> None:
    laughs = '<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><r><i>&b;</i></r>'
    outside = '<!DOCTYPE r [<!ENTITY f SYSTEM "file:///etc/passwd">]><r><i>&f;</i></r>'

    assert codes(parts(laughs)) == codes(parts(outside)) == [("x.xml", "xml_entities")]
    assert codes(parts("no xml")) == [("x.xml", "not_xml")]
    broken = parts("<r><i><n>1</n></i><i><n>2</n></i><i><n")
    assert [row["n"] for row in rows(broken)] == ["1", "2"]
    assert codes(broken) == [("x.xml, element 3", "not_xml")]
    deep = "<r>" + "<a>" * 5000 + "</a>" * 5000 + "</r>"
    assert codes(parts(deep)) == [("x.xml", "not_xml")]
    assert rows(parts("<r>" + "<a>" * 100 + "x" + "</a>" * 100 + "</r>")) != []


def test_a_folder_of_xml_gives_rows(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes("<r><i id='1'>é</i></r>".encode("utf-16"))
    stream = {"patterns": "*.xml", "format": "xml", "key": "id"}
    with LocalBee.from_options({"path": str(tmp_path), "streams": {"s": stream}}) as bee:
        [batch] = bee.collect_nectar("s", None)

    assert batch.table.to_pylist() == [{"id": "1", "text": "é"}]
