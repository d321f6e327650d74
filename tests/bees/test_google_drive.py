"""Google Drive, against google-drive-mock (no server of Google's) and a stub that gives tokens."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from bees.core.errors import GiveUp, SourceError
from bees.google_drive import _FOLDER, DriveStorage, GoogleDriveBee
from hive.embedded.places import free_port
from tests.bees.contract import rows
from tests.bees.file_systems import Disk, FileSystemContract, read, sections
from tests.bees.test_file_troubles import peer
from tests.servers.drive import VALID, DriveMock, drive_mock, exporting, tokens

pytestmark = pytest.mark.servers
__all__ = ["drive_mock"]
_number = itertools.count(1)
SECRETS = {"client_id": "the-client-id", "client_secret": "the-client-secret", "refresh_token": "the-refresh-token"}


class DriveDisk(Disk):
    def __init__(self, server: DriveMock, token_url: str) -> None:
        self.server = server
        self.root = f"top {next(_number)}"
        self.ids = {"": server.make(self.root, "root", _FOLDER)}
        auth = {"method": "oauth2", **SECRETS}
        self.options = {
            "endpoint": server.url, "token_url": token_url, "allow_private": True, "auth": auth, "path": f"/{self.root}"
        }  # fmt: skip
        self.unreachable = self.options | {"endpoint": f"http://127.0.0.1:{free_port()}"}
        self.denied = self.options | {"auth": auth | {"refresh_token": "wrong-secret"}}
        self.secrets = (SECRETS["client_secret"], SECRETS["refresh_token"], "wrong-secret", VALID)

    def put(self, path: str, data: bytes) -> None:
        folder, _, name = path.rpartition("/")
        if path in self.ids:
            self.server.ask("PATCH", f"/drive/v3/files/{self.ids[path]}", {"content": data.decode()})
            return
        if folder not in self.ids:
            above, _, last = folder.rpartition("/")
            self.ids[folder] = self.server.make(last, self.ids[above], _FOLDER)
        self.ids[path] = self.server.make(name, self.ids[folder], "text/plain", data.decode())

    def remove(self, path: str) -> None:
        self.server.ask("DELETE", f"/drive/v3/files/{self.ids.pop(path)}")

    def files(self) -> dict[str, bytes]:
        return {
            path: json.dumps(self.server.ask("GET", f"/drive/v3/files/{id_}")).encode()
            for path, id_ in self.ids.items()
        }


@pytest.fixture
def disk(drive_mock: DriveMock) -> Iterator[DriveDisk]:
    with tokens(VALID) as (url, _):
        yield DriveDisk(drive_mock, url)


class TestGoogleDrive(FileSystemContract):
    connector = "google_drive"
    row_bytes = 30  # the mock takes no more than 100 KB
    odd_names = ("sp ace & per%cent+plus#hash?.txt", "ümläut.txt", "it's \\ quoted.txt", "new\nline.txt")

    @pytest.fixture
    def disk(self, disk: Disk) -> Disk:
        return disk


def test_an_expired_token_is_renewed_in_the_middle_of_a_listing(drive_mock: DriveMock) -> None:
    with tokens("an-expired-token", VALID) as (url, asked):
        disk = DriveDisk(drive_mock, url)
        disk.put("a/b.txt", b"text")

        assert [r["path"] for r in rows(read("google_drive", disk.options))] == ["a/b.txt"]

    assert {form["refresh_token"] for form in asked} == {SECRETS["refresh_token"]}
    assert len(asked) == 2


def test_a_service_account_signs_for_itself(drive_mock: DriveMock) -> None:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    with tokens(VALID) as (url, asked):
        disk = DriveDisk(drive_mock, url)
        disk.put("a.txt", b"text")
        auth = {
            "method": "service_account",
            "key": json.dumps({"client_email": "bee@x.test", "private_key": pem}),
            "subject": "ann@x.test",
        }
        assert [r["path"] for r in rows(read("google_drive", disk.options | {"auth": auth}))] == ["a.txt"]

    head, claims, signature = asked[0]["assertion"].split(".")
    padded = [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in (claims, signature)]
    key.public_key().verify(padded[1], f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
    told: dict[str, Any] = json.loads(padded[0])
    assert (told["iss"], told["sub"], told["aud"]) == ("bee@x.test", "ann@x.test", url)
    assert told["scope"].endswith("drive.readonly")


def test_googles_documents_are_exported_and_what_has_no_content_is_left_out(disk: DriveDisk) -> None:
    for name, kind in (("Report", "document"), ("Talk", "presentation"), ("Form", "form"), ("Link", "shortcut")):
        disk.server.make(name, disk.ids[""], f"application/vnd.google-apps.{kind}", f"text of {name}")
    disk.server.make("Sheet", disk.ids[""], "application/vnd.google-apps.spreadsheet", "id,name\n1,Ann\n")

    with exporting(disk.server) as url:
        options = disk.options | {"endpoint": url}
        documents, records = (rows(read("google_drive", options, stream)) for stream in ("documents", "records"))

    assert {r["path"]: r["content"] for r in documents} == {
        "Report.md": b"text of Report as text/markdown", "Talk.txt": b"text of Talk as text/plain"
    }  # fmt: skip
    assert [(r["source_file"], r["name"]) for r in records] == [("Sheet.csv", "Ann")]


def test_files_of_the_same_name_carry_their_id(disk: DriveDisk) -> None:
    ids = [disk.server.make("a.txt", disk.ids[""], "text/plain", text) for text in ("one", "two")]
    disk.server.make("b/c.txt", disk.ids[""], "text/plain", "three")

    found = {r["path"]: r["content"] for r in rows(read("google_drive", disk.options))}

    assert found == {f"a~{ids[0]}.txt": b"one", f"a~{ids[1]}.txt": b"two", "b_c.txt": b"three"}


def test_names_that_are_no_names_elsewhere_are_read(disk: DriveDisk) -> None:
    """A name may be anything there."""
    ids = {name: disk.server.make(name, disk.ids[""], "text/plain", "text") for name in ("..", ".")}

    found = rows(read("google_drive", disk.options))

    assert {row["path"] for row in found} == {f"{name}~{id_}" for name, id_ in ids.items()}


def test_a_name_that_is_no_text_stops_no_flight() -> None:
    files = [{"id": str(n), "name": name, "mimeType": "text/plain", "size": "4"} for n, name in enumerate("a\ud800")]
    auth = {"method": "oauth2", **SECRETS}

    def drive(_: str, asked: dict[str, str]) -> tuple[int, bytes]:
        return 200, json.dumps({"files": files}).encode() if "q" in asked else b"text"

    with peer(drive) as url, tokens(VALID) as (token_url, _):
        options = {"endpoint": url, "token_url": token_url, "allow_private": True, "auth": auth}
        found = read("google_drive", options)

    assert [row["path"] for row in rows(found)] == ["a", "\ufffd#" + rows(found)[1]["path"].partition("#")[2]]


def test_a_large_file_that_changes_while_it_is_read_is_not_told_as_whole(
    disk: DriveDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("bees.google_drive", "bees.core.file_pass"):
        monkeypatch.setattr(f"{place}.SMALL", 8)
    monkeypatch.setattr(DriveStorage, "block", 16)
    disk.put("a.csv", b"id\n" + b"1\n" * 50)
    real, changed = DriveStorage.read, []

    def changing(self: DriveStorage, entry: Any, start: int, size: int) -> bytes:
        if start >= 16 and not changed:
            changed.append(start)
            disk.put("a.csv", b"id\n" + b"2\n" * 50)
        return real(self, entry, start, size)

    monkeypatch.setattr(DriveStorage, "read", changing)
    first = read("google_drive", disk.options, "records")
    second = read("google_drive", disk.options, "records", first[-1].cursor)

    assert changed
    assert [ends for *_, ends in sections(first)] == [False]
    assert [row["id"] for row in rows(second)] == ["2"] * 50
    assert sections(second) == [("a.csv", 50, True, True)]


def test_a_file_that_comes_on_two_pages_keeps_its_name(disk: DriveDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is renamed while the list is read moves in it."""
    disk.put("a.txt", b"one")
    disk.put("b.txt", b"two")
    real = DriveStorage._children

    def doubling(self: DriveStorage, *asked: Any) -> Iterator[dict[str, Any]]:
        for item in list(real(self, *asked)):
            yield from (item, item)

    monkeypatch.setattr(DriveStorage, "_children", doubling)

    assert [r["path"] for r in rows(read("google_drive", disk.options))] == ["a.txt", "b.txt"]


@pytest.mark.parametrize(
    ("page", "code"),
    [
        (b'{"files": [], "nextPageToken": "again"}', "bad_listing"),
        (b'{"files": [], "incompleteSearch": true}', "bad_listing"),
        (b'{"error": "sign in"}', "no_drive"),
    ],
)
def test_a_list_that_is_none_or_has_holes_is_no_empty_folder(page: bytes, code: str) -> None:
    auth = {"method": "oauth2", **SECRETS}
    with peer(lambda *_: (200, page)) as url, tokens(VALID) as (token_url, _):
        options = {"endpoint": url, "token_url": token_url, "allow_private": True, "auth": auth}
        with GoogleDriveBee.from_options(options) as bee, pytest.raises(SourceError) as error:
            list(bee.collect_nectar("documents", None))

    assert error.value.code == code


@pytest.mark.parametrize(
    ("auth", "code"),
    [
        ({"client_id": "x", "client_secret": "y"}, "no_credentials"),
        ({"method": "service_account", "key": "{}"}, "bad_key"),
    ],
)
def test_credentials_that_are_missing_are_named(auth: dict[str, str], code: str) -> None:
    with GoogleDriveBee.from_options({"auth": auth}) as bee, pytest.raises(GiveUp) as error:
        bee.validate_flight_path()
    assert error.value.code == code
    assert error.value.where.startswith("auth.")
