"""The encoding of a text without a mark is told by its letters, or not at all."""

# ruff: noqa: RUF001 - letters that look alike are what this is about

from __future__ import annotations

import pytest

from nectar.extract.guess import likely_encoding


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("id;name\n1;José Muñoz\n2;Màlaga\n", "cp1252"), ("Straße,Größe\n", "cp1252"), ("Søren Ærø, Åse", "cp1252"),
        ("Renée;Noël;Zoë;François;Müller;Peña;Søren\n", "cp1252"), ("Jean-Paul L’Écuyer – “le rêve”", "cp1252"),
        ("São Paulo;Conceição;Camões\n", "cp1252"), ("£5\n€7\n", "cp1252"),
        ("Dvořák\nŽižka\nŁukasz Wiśniewski\n", "cp1250"), ("Dvořák;Nováček;Růžička;Šťastný\n", "iso8859-2"),
        ("Łódź\nGdańsk\nKraków\n", "cp1250"), ("Ferenc Gyurcsány, Győr\n", "cp1250"),
        ("Çağrı Yılmaz,İstanbul\nGül Şahin,Muğla\n", "cp1254"), ("Jānis Bērziņš\nKristīne Ozoliņa\n", "cp1257"),
        ("Müller, José, Garçon", "cp850"),
        ("id;name\n1;Иван Петров\n2;Мария Сидорова\n", "cp1251"), ("Олександр Шевченко, Київ", "cp1251"),
        ("ИВАН ПЕТРОВ\nМАРИЯ СИДОРОВА\n", "cp1251"), ("id;name\n1;Иван Петров\n2;Мария Сидорова\n", "koi8-r"),
        ("Γιώργος Παπαδόπουλος\n", "cp1253"), ("דוד כהן,ירושלים\nשרה לוי,חיפה\n", "cp1255"),
        ("محمد علي,القاهرة\nفاطمة حسن,بغداد\n", "cp1256"),
        ("id,name\n1,山田太郎\n2,鈴木花子\n", "cp932"), ("名前,都市\nやまだたろう,とうきょう\n", "euc-jp"),
        ("姓名,城市\n张伟,北京\n王芳,上海\n李娜,广州\n", "gb18030"), ("id,name\n1,陳大文\n2,林小姐\n", "big5"),
        ("이름,도시\n김철수,서울\n이영희,부산\n", "cp949"),
        ("id,name\n1,José\n", "utf-16-le"), ("id,name\n1,José\n", "utf-16-be"), ("id,name\n1,Łódź 山田\n", "utf-8"),
    ],
)  # fmt: skip
def test_letters_tell_the_encoding(text: str, codec: str) -> None:
    raw = text.encode(codec)

    found = likely_encoding(raw)

    assert raw.decode(found) == text
    assert likely_encoding(b"plain,text\n" * 20_000 + raw) in {found, "" if codec.startswith("utf-16") else found}


@pytest.mark.parametrize(
    "raw",
    [
        b"caf\xe9",  # one byte may be a slip
        b"id\n\xff\xfe\xfd\xff\xff\n",
        "José Zoë\n".encode() + "Müller Größe\n".encode("latin-1") * 2,
        bytes(range(128, 256)),
        "1,山田太郎\n2,鈴木花子\n".encode("euc-jp"),  # Chinese would look the same
        b"",
    ],
)
def test_what_is_not_sure_or_mixed_is_not_guessed(raw: bytes) -> None:
    assert likely_encoding(raw) in {"", "utf-8"}


def test_a_character_cut_at_the_end_of_the_sample_is_no_other_encoding() -> None:
    raw = ("x" * 65_535 + "é" + " and more\n").encode()

    assert likely_encoding(raw) == "utf-8"
    assert likely_encoding(raw[:65_536]) in {"", "utf-8"}
