"""What goes wrong with sources of files: the one file suffers, the rest lands, and nobody starts again from zero."""

from __future__ import annotations

import http.server
import itertools
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.local import LocalBee
from bees.s3 import S3Bee
from bees.webdav import WebdavBee
from nectar.batch import Batch
from tests.bees.certificates import certificate
from tests.bees.contract import rows
from tests.bees.file_systems import read as look
from tests.servers.s3 import KEYS

pytestmark = pytest.mark.servers
Answer = tuple[int, bytes]


@contextmanager
def peer(
    answer: Callable[[str, dict[str, str]], Answer], tls: Path | None = None, media_type: str = ""
) -> Iterator[str]:
    """A server of one function: path and parameters in, status and body out."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = answer(asked.path, {k: v[0] for k, v in parse_qs(asked.query).items()})
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"one"')
            if media_type:
                self.send_header("Content-Type", media_type)
            self.end_headers()
            self.wfile.write(body)

        do_PROPFIND = do_GET  # noqa: N815 - the protocol's word

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def listing(keys: list[str], token: str) -> bytes:
    items = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>&quot;one&quot;</ETag>"
        f"<Size>4</Size></Contents>"
        for key in keys
    )
    more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return f'<?xml version="1.0"?><ListBucketResult>{items}{more}</ListBucketResult>'.encode()


def problem(code: str) -> bytes:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>no</Message></Error>'.encode()


class Bucket:
    """Six objects in three pages; the second page meets a trouble for as long as there is one."""

    keys = tuple(f"{n}.txt" for n in range(6))

    def __init__(self, trouble: Answer) -> None:
        self.trouble: Answer | None = trouble
        self.read: list[str] = []

    def __call__(self, path: str, asked: dict[str, str]) -> Answer:
        if "list-type" not in asked:
            self.read.append(path.rpartition("/")[2])
            return 200, b"text"
        after = asked.get("continuation-token") or asked.get("start-after", "")
        left = [key for key in self.keys if key > after]
        if left and left[0] == "2.txt" and self.trouble:
            return self.trouble
        return 200, listing(left[:2], left[1] if len(left) > 2 else "")


def read(bee: S3Bee, cursor: Any = None) -> tuple[list[Batch], SourceError | None]:
    got: list[Batch] = []
    try:
        got.extend(bee.collect_nectar("documents", cursor))
    except SourceError as error:
        return got, error
    return got, None


@pytest.mark.parametrize(
    ("status", "code", "kind", "verdict"),
    [
        (400, "ExpiredToken", GiveUp, "denied"),
        (403, "AccessDenied", GiveUp, "denied"),
        (503, "SlowDown", RetryLater, "rate_limited"),
    ],
)
def test_a_listing_that_breaks_off_in_its_middle_goes_on_there(
    status: int, code: str, kind: type[SourceError], verdict: str
) -> None:
    bucket = Bucket((status, problem(code)))
    with peer(bucket) as url:
        options = {"bucket": "papers", "endpoint": url, "allow_private": True, "auth": {"method": "keys", **KEYS}}
        with S3Bee.from_options(options) as bee:
            first, error = read(bee)
        assert isinstance(error, kind)
        assert error.code == verdict
        assert not any(key in str(error) for key in KEYS.values())
        assert [row["path"] for row in rows(first)] == ["0.txt", "1.txt"]
        bucket.trouble, bucket.read = None, []
        with S3Bee.from_options(options) as bee:
            rest, error = read(bee, json.loads(json.dumps(first[-1].cursor)))

    assert error is None
    assert [row["path"] for row in rows(rest)] == ["2.txt", "3.txt", "4.txt", "5.txt"]
    assert sorted(bucket.read) == ["2.txt", "3.txt", "4.txt", "5.txt"], "what was read is not read again"


@pytest.mark.parametrize(("status", "code"), [(400, "InvalidRequest"), (400, "KMS.DisabledException"), (405, "X")])
def test_an_object_that_is_refused_for_itself_keeps_no_other_from_being_read(status: int, code: str) -> None:
    """Encrypted with a key of its owner, for one."""

    def bucket(path: str, asked: dict[str, str]) -> Answer:
        if "list-type" in asked:
            return 200, listing(["a.txt", "b.txt", "c.txt"], "")
        return (status, problem(code)) if path.endswith("b.txt") else (200, b"text")

    with peer(bucket) as url:
        options = {"bucket": "papers", "endpoint": url, "allow_private": True, "auth": {"method": "keys", **KEYS}}
        with S3Bee.from_options(options) as bee:
            got, error = read(bee)

    assert ([row["path"] for row in rows(got)], error) == (["a.txt", "c.txt"], None)
    assert [(r.position, r.code) for batch in got for r in batch.rejects] == [("b.txt", "refused")]


@pytest.mark.parametrize(
    "page",
    [
        b"<html><head><title>Sign in</title></head><body><p>Network login</p></body></html>",
        b"<!DOCTYPE html><html><br>unclosed",
        b"",
    ],
    ids=["page", "no xml", "nothing"],
)
def test_a_page_in_the_place_of_a_buckets_listing_is_no_empty_bucket(page: bytes) -> None:
    told: dict[str, bytes] = {"listing": listing(["a.txt"], "")}
    with peer(lambda _, asked: (200, told["listing"] if "list-type" in asked else b"text")) as url:
        options = {"bucket": "papers", "endpoint": url, "allow_private": True, "auth": {"method": "keys", **KEYS}}
        with S3Bee.from_options(options) as bee:
            cursor = json.loads(json.dumps(read(bee)[0][-1].cursor))
            told["listing"] = page
            got, error = read(bee, cursor)

    assert (rows(got), isinstance(error, SourceError)) == ([], True)


@pytest.mark.parametrize("tokens", [("again",), ("",), ("one", "two"), ("one", "two", "three")])
def test_a_listing_that_goes_round_in_circles_ends(tokens: tuple[str, ...]) -> None:
    turns = itertools.cycle(tokens)
    names = ["a.txt"] if len(tokens) == 1 else []
    page = listing(["a.txt"], "again").replace(b"<NextContinuationToken>again</NextContinuationToken>", b"")
    with peer(lambda *_: (200, listing(names, next(turns)) if tokens[0] else page)) as url:
        options = {"bucket": "papers", "endpoint": url, "allow_private": True, "auth": {"method": "keys", **KEYS}}
        with S3Bee.from_options(options) as bee:
            _, error = read(bee)

    assert isinstance(error, RetryLater)
    assert error.code == "bad_listing"


def test_a_server_that_does_not_know_where_to_go_on_reads_nothing_twice() -> None:
    """`start-after` came later than the protocol's other words."""
    bucket = Bucket((503, problem("SlowDown")))

    def forgetful(path: str, asked: dict[str, str]) -> Answer:
        return bucket(path, {name: value for name, value in asked.items() if name != "start-after"})

    with peer(forgetful) as url:
        options = {"bucket": "papers", "endpoint": url, "allow_private": True, "auth": {"method": "keys", **KEYS}}
        with S3Bee.from_options(options) as bee:
            first, _ = read(bee)
        bucket.trouble, bucket.read = None, []
        with S3Bee.from_options(options) as bee:
            rest, error = read(bee, json.loads(json.dumps(first[-1].cursor)))

    assert error is None
    assert [row["path"] for row in rows(rest)] == ["2.txt", "3.txt", "4.txt", "5.txt"]
    assert sorted(bucket.read) == ["2.txt", "3.txt", "4.txt", "5.txt"]


def test_a_clock_that_goes_wrong_is_told_as_that() -> None:
    def skewed(_: str, asked: dict[str, str]) -> Answer:
        return (200, listing(["a.txt"], "")) if "list-type" in asked else (403, problem("RequestTimeTooSkewed"))

    with peer(skewed) as url:
        options = {"bucket": "papers", "endpoint": url, "allow_private": True, "auth": {"method": "keys", **KEYS}}
        with S3Bee.from_options(options) as bee:
            _, error = read(bee)

    assert isinstance(error, GiveUp)
    assert (error.code, "clock" in str(error.advice)) == ("clock_skew", True)


def dav(*responses: tuple[str, str]) -> bytes:
    """(path, what is told of it) of each: a folder, a file, or a status."""
    facts = {
        "folder": "<D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype></D:prop></D:propstat>",
        "file": "<D:propstat><D:prop><D:resourcetype/><D:getcontentlength>4</D:getcontentlength>"
        '<D:getetag>"one"</D:getetag></D:prop></D:propstat>',
    }
    inner = "".join(
        f"<D:response><D:href>{path}</D:href>{facts.get(told, f'<D:status>HTTP/1.1 {told}</D:status>')}</D:response>"
        for path, told in responses
    )
    return f'<?xml version="1.0"?><D:multistatus xmlns:D="DAV:">{inner}</D:multistatus>'.encode()


@pytest.mark.parametrize(
    "listed",
    [
        [("/dav/", "507 Insufficient Storage"), ("/dav/a.txt", "file")],
        [("/dav/", "folder"), ("/dav/a.txt", "file"), ("/dav/in", "503 Service Unavailable")],
        [("/files/", "folder"), ("/files/a.txt", "file")],
        [("/dav/", "folder"), ("/files/a.txt", "file"), ("/files/in/", "folder")],
        [],
    ],
    ids=["cut", "a part is away", "other paths", "others' paths", "nothing"],
)
def test_a_listing_of_webdav_with_holes_deletes_nothing(listed: list[tuple[str, str]]) -> None:
    pages = {
        "/dav/": [("/dav/", "folder"), ("/dav/a.txt", "file"), ("/dav/in/", "folder")],
        "/dav/in/": [("/dav/in/", "folder"), ("/dav/in/b.txt", "file")],
    }

    def server(path: str, _: dict[str, str]) -> Answer:
        return (207, dav(*pages[path])) if path.endswith("/") else (200, b"text")

    with peer(server) as url:
        options = {"url": f"{url}/dav/", "allow_private": True}
        found = look("webdav", options)
        assert [row["path"] for row in rows(found)] == ["a.txt", "in/b.txt"]
        pages["/dav/"] = listed
        with pytest.raises(SourceError) as error:
            look("webdav", options, cursor=found[-1].cursor)

    assert error.value.code in ("bad_listing", "no_webdav")


def test_a_file_that_webdav_lists_twice_in_one_version_is_one() -> None:
    dated = b"</D:getetag><D:getlastmodified>Mon, 01 Jan 2024 10:00:00 GMT</D:getlastmodified>"
    listed = dav(("/dav/", "folder"), ("/dav/a.txt", "file"), ("/dav/a.txt", "file"))
    pages = {"/dav/": listed.replace(b"</D:getetag>", dated)}
    with peer(lambda path, _: (207, pages[path]) if path in pages else (200, b"text")) as url:
        found = look("webdav", {"url": f"{url}/dav/", "allow_private": True})

    assert ([row["path"] for row in rows(found)], [r.code for b in found for r in b.rejects]) == (["a.txt"], [])
    assert found[-1].complete


@pytest.mark.parametrize("status", [403, 401, 500])
def test_a_folder_of_webdav_that_may_not_be_known_is_no_file(status: int) -> None:
    """SabreDAV, and Nextcloud with it, refuse every property of what may not be read, its kind among them."""
    closed = f"<D:propstat><D:prop><D:resourcetype/></D:prop><D:status>HTTP/1.1 {status} No</D:status></D:propstat>"
    pages = {
        "/dav/": dav(("/dav/", "folder"), ("/dav/a.txt", "file"), ("/dav/in/", "folder")),
        "/dav/in/": dav(("/dav/in/", "folder"), ("/dav/in/b.txt", "file")),
    }

    def server(path: str, _: dict[str, str]) -> Answer:
        if path.startswith("/dav/in") and closed.encode() in pages["/dav/"]:
            return 403, b""
        return (207, pages[path]) if path.endswith("/") else (200, b"text")

    with peer(server) as url:
        options = {"url": f"{url}/dav/", "allow_private": True}
        first = look("webdav", options)
        folder = "<D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype></D:prop></D:propstat>"
        known, refused = (f"<D:href>/dav/in{end}</D:href>{told}" for end, told in (("/", folder), ("", closed)))
        pages["/dav/"] = pages["/dav/"].replace(known.encode(), refused.encode())
        assert refused.encode() in pages["/dav/"]
        second = look("webdav", options, cursor=first[-1].cursor)

    assert [row["path"] for row in rows(first)] == ["a.txt", "in/b.txt"]
    assert rows(second) == [], "nothing in it counts as deleted"
    assert {r.position for batch in second for r in batch.rejects} == {"in"}


def test_a_certificate_that_nobody_trusts_is_refused_with_advice(tmp_path: Path) -> None:
    with peer(lambda _, __: (200, b""), certificate(tmp_path, "elsewhere.example")) as url:
        common = {"allow_private": True, "timeout": 5}
        keys = {"method": "keys", **KEYS}
        for bee in (
            S3Bee.from_options({"bucket": "papers", "endpoint": url, "auth": keys, **common}),
            WebdavBee.from_options({"url": url, **common}),
        ):
            with bee, pytest.raises(GiveUp) as error:
                bee.validate_flight_path()
            assert "certificate" in f"{error.value.code} {error.value}"
            assert error.value.advice


def test_a_server_that_sends_half_a_file_and_hangs_ends_in_time() -> None:
    release = threading.Event()

    def hanging(_: str, asked: dict[str, str]) -> Answer:
        if "list-type" in asked:
            return 200, listing(["a.txt"], "")
        release.wait(20)
        return 200, b"text"

    with peer(hanging) as url:
        options = {
            "bucket": "papers", "endpoint": url, "allow_private": True, "timeout": 0.5,
            "auth": {"method": "keys", **KEYS},
        }  # fmt: skip
        began = time.monotonic()
        with S3Bee.from_options(options) as bee:
            got, error = read(bee)
        release.set()

    assert time.monotonic() - began < 20
    assert (rows(got), error) == ([], None), "one file that fails is tried by the next pass"


def test_names_of_every_kind_are_names(tmp_path: Path) -> None:
    names = [
        b"new\nline.txt",
        b"sur\xed\xa0\x80rogate.txt",
        b"x" * 251 + b".txt",
        b"-rf.txt",
        b"$(id).txt",
        b"\xff.txt",
    ]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(name.hex().encode())
    with LocalBee.from_options({"path": str(tmp_path)}) as bee:
        found = {
            row["path"]: bytes.fromhex(row["content"].decode())
            for row in rows(list(bee.collect_nectar("documents", None)))
        }

    assert sorted(found.values()) == sorted(names)
    assert len(found) == len(names)
    for path in found:
        path.encode()  # what lands is text


_LOOK = """
import sys
from pathlib import Path
from bees.local import LocalBee
with LocalBee.from_options({"path": sys.argv[1]}) as bee:
    batches = list(bee.collect_nectar("records", None))
print([r.code for b in batches for r in b.rejects], sum(b.table.num_rows for b in batches))
print(int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) >> 10)
"""


@pytest.mark.parametrize(
    ("name", "begin", "end", "told"),
    [
        ("a.csv", b'a,b\n1,2\n"x', b"\n3,4\n", "['unclosed_quote'] 1"),
        ("a.jsonl", b'{"a": 1}\n{"a": "x', b'"}\n{"a": 2}\n', "['row_too_long'] 2"),
    ],
)
def test_a_line_of_a_gigabyte_takes_little_memory(
    tmp_path: Path, name: str, begin: bytes, end: bytes, told: str
) -> None:
    with (tmp_path / name).open("wb") as file:
        file.write(begin)
        file.truncate(1 << 30)  # a hole: takes no room on the disk
        file.seek(0, os.SEEK_END)
        file.write(end)

    done = subprocess.run([sys.executable, "-c", _LOOK, str(tmp_path)], capture_output=True, text=True, check=True)

    line, peak = done.stdout.splitlines()
    assert line == told
    assert int(peak) < 400
