"""Files that a real web server lists in pages of links."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bees.core.errors import GiveUp, SourceError
from bees.http_index import HttpIndexBee
from hive.embedded.places import free_port
from tests.bees.contract import rows
from tests.bees.file_systems import Disk, FileSystemContract, FolderDisk, read
from tests.servers.troubled import Trouble, troubled
from tests.servers.webdav import web_index

pytestmark = pytest.mark.servers


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FolderDisk]:
    with web_index(tmp_path) as url:
        made = FolderDisk(tmp_path)
        made.options = {"url": url, "allow_private": True}
        made.unreachable = {"url": f"http://127.0.0.1:{free_port()}/", "allow_private": True}
        yield made


class TestHttpIndex(FileSystemContract):
    connector = "http_index"

    @pytest.fixture
    def disk(self, disk: Disk) -> Disk:
        return disk

    def test_links_that_lead_elsewhere_are_not_followed(self, tmp_path: Path, disk: Disk) -> None:
        disk.put("root/a.txt", b"a")
        disk.put("out.txt", b"outside")
        links = [
            "a.txt",
            "../out.txt",
            "/out.txt",
            "//127.0.0.1:1/b.txt",
            "http://127.0.0.1:1/c.txt",
            "a.txt?x=1",
            "%2e%2e/",
            ".",
        ]
        page = "".join(f'<a href="{link}">x</a>' for link in links)
        disk.put("root/index.html", page.encode())

        found = read("http_index", disk.options | {"path": "/root"})

        assert [(r["path"], r["content"]) for r in rows(found)] == [("a.txt", b"a")]


NGINX = """<html>
<head><title>Index of /</title></head>
<body>
<h1>Index of /</h1><hr><pre><a href="../">../</a>
{}</pre><hr></body>
</html>
"""
APACHE = """<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<html><head><title>Index of /files</title></head><body><h1>Index of /files</h1>
<table><tr><th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th></tr>
<tr><td><a href="/">Parent Directory</a></td></tr>
{}</table></body></html>
"""
GO = "<pre>\n{}</pre>\n"
IIS = """<html><head><title>files.example - /</title></head><body><H1>files.example - /</H1><hr>
<pre><A HREF="/">[To Parent Directory]</A><br><br>{}</pre><hr></body></html>"""
OWN = "<!doctype html><h1>Our files</h1><p>{}</p>"


class Site:
    """A web server whose pages a test writes: (status, type, body, where to)."""

    def __init__(self, *, heads: bool = True, ranges: bool = False) -> None:
        """`heads`: it knows HEAD; else it says 404 to it. `ranges`: it gives parts of files."""
        self.heads, self.ranges = heads, ranges
        self.pages: dict[str, tuple[int, str, str, str]] = {}

    def put(self, path: str, body: str, kind: str = "text/html", status: int = 200, to: str = "") -> None:
        self.pages[path] = (status, kind, body, to)


@contextmanager
def serving(site: Site) -> Iterator[dict[str, Any]]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            known = site.pages if site.heads or self.command == "GET" else {}
            status, kind, body, to = known.get(self.path, (404, "text/html", "not here", ""))
            data = body.encode()
            part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")) if site.ranges else None
            if part and status == 200:
                status, whole, data = 206, len(data), data[int(part[1]) : int(part[2]) + 1]
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            if part:
                self.send_header("Content-Range", f"bytes {part[1]}-{int(part[1]) + len(data) - 1}/{whole}")
            for name, value in (("Location", to), ("ETag", f'"{hash(body)}"')):
                if value:
                    self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        do_HEAD = do_GET  # noqa: N815 - the protocol's word

        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield {"url": f"http://127.0.0.1:{server.server_address[1]}/", "allow_private": True}
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("page", [NGINX, APACHE, GO, IIS, OWN], ids=["nginx", "apache", "go", "iis", "own"])
def test_the_pages_of_web_servers_are_lists_also_of_nothing(page: str) -> None:
    site = Site()
    site.put("/", page.format('<a href="a.txt">a.txt</a>'))
    site.put("/a.txt", "text", "text/plain")
    with serving(site) as options:
        found = read("http_index", options)
        assert [row["path"] for row in rows(found)] == ["a.txt"]
        if page == OWN:
            return
        site.put("/", page.format(""))
        gone = read("http_index", options, cursor=found[-1].cursor)

    assert [(row["path"], row["_op"]) for row in rows(gone)] == [("a.txt", "delete")]


def test_a_page_of_very_many_links_is_read() -> None:
    site = Site()
    link = f'<a href="{{:06}}-{"x" * 40}.bin">a file of a long name</a>      01-Jan-2024 10:00      12\n'
    links = "".join(map(link.format, range(45_000)))
    site.put("/", NGINX.format(f'{links}<a href="in/">in/</a>'))
    site.put("/in/", NGINX.format('<a href="a.txt">a.txt</a>'))
    site.put("/in/a.txt", "text", "text/plain")
    with serving(site) as options, HttpIndexBee.from_options(options) as bee:
        bee.validate_flight_path()
        files, folders = bee._storage._links("")

    assert (len(files), folders) == (45_000, ["in"])


def test_a_server_that_knows_no_head_is_read_and_dead_links_are_gone() -> None:
    site = Site(heads=False)
    site.put("/", NGINX.format('<a href="a.txt">a.txt</a><a href="b.txt">b.txt</a>'))
    site.put("/a.txt", "text", "text/plain")
    with serving(site) as options:
        found = read("http_index", options)
        assert [(row["path"], row["size"]) for row in rows(found)] == [("a.txt", 4)]
        site.put("/", NGINX.format('<a href="b.txt">b.txt</a>'))
        gone = read("http_index", options, cursor=found[-1].cursor)

    assert [(row["path"], row["_op"]) for row in rows(gone)] == [("a.txt", "delete")]


def table(lines: int) -> str:
    return "id,text\n" + "".join(f"{n},{'x' * 100}\n" for n in range(lines))


def test_a_large_file_of_a_server_without_ranges_is_asked_for_once() -> None:
    site = Site()
    site.put("/", NGINX.format('<a href="a.csv">a.csv</a>'))
    site.put("/a.csv", table(120_000), "text/csv")
    with serving(site) as options, troubled(options["url"].rstrip("/")) as relay:
        found = read("http_index", {"url": f"{relay.url}/", "allow_private": True}, stream="records")

    assert len(rows(found)) == 120_000
    assert relay.seen.count(("GET", "/a.csv")) == 1


def test_a_large_file_of_a_server_that_knows_no_head_is_read_by_ranges() -> None:
    """Its size is told with a part of it, and so is its version: nothing is read twice."""
    site = Site(heads=False, ranges=True)
    site.put("/", NGINX.format('<a href="a.csv">a.csv</a>'))
    site.put("/a.csv", table(120_000), "text/csv")
    with serving(site) as options:
        found = read("http_index", options, stream="records")
        again = read("http_index", options, stream="records", cursor=found[-1].cursor)

    assert (len(rows(found)), again) == (120_000, [])


def test_large_files_of_a_server_that_tells_no_size_are_not_held_in_memory() -> None:
    """Files of unknown size are read ahead, several at once."""
    site = Site(heads=False)
    names = ["a.csv", "b.csv", "c.csv"]
    site.put("/", NGINX.format("".join(f'<a href="{name}">{name}</a>' for name in names)))
    for name, lines in zip(names, (10, 120_000, 10), strict=True):
        site.put(f"/{name}", table(lines), "text/csv")
    with serving(site) as options:
        found = read("http_index", options, stream="records")

    assert {row["source_file"] for row in rows(found)} == {"a.csv", "c.csv"}
    assert [(r.position, r.code) for batch in found for r in batch.rejects] == [("b.csv", "no_ranges")]


LOGIN = """<html><head><title>Files</title></head><body><form><input name="u"><input type="Password" name="p"></form>
<a href="forgotten">Forgotten?</a></body></html>"""


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("", "text/html"),
        ("<html><head><title>Maintenance</title></head><body>Back at noon. <a href='status'>Status</a></body></html>",
         "text/html"),
        ("<html><body><h1>It works!</h1></body></html>", "text/html"),
        ("<title>503 Service Unavailable</title><a href='help'>Help</a>", "text/html"),
        (LOGIN, "text/html; charset=utf-8"),
        ('{"message": "Forbidden"}', "application/json"),
        ("upstream connect error", "text/plain"),
    ],
    ids=["nothing", "maintenance", "welcome", "error", "login", "json", "text"],
)  # fmt: skip
def test_a_page_that_is_no_list_is_no_empty_folder(body: str, kind: str) -> None:
    site = Site()
    site.put("/", NGINX.format('<a href="a.txt">a.txt</a><a href="in/">in/</a>'))
    site.put("/a.txt", "text", "text/plain")
    site.put("/in/", NGINX.format('<a href="b.txt">b.txt</a>'))
    site.put("/in/b.txt", "text", "text/plain")
    with serving(site) as options:
        cursor = read("http_index", options)[-1].cursor
        site.put("/in/", body, kind)
        within = read("http_index", options, cursor=cursor)
        site.put("/in/", NGINX.format(""))
        site.put("/", body, kind)
        with pytest.raises(GiveUp) as error:
            read("http_index", options, cursor=cursor)

    assert ([row for row in rows(within) if "_op" in row], rows(within)) == ([], [])
    assert [(r.position, r.code) for batch in within for r in batch.rejects] == [("in", "no_listing")]
    assert (error.value.code, error.value.where) == ("no_listing", "path")
    assert error.value.advice


def test_a_page_that_breaks_off_is_asked_for_again() -> None:
    """Of a server that tells no length the end of the page alone tells that it came whole."""
    page = NGINX.format('<a href="a.txt">a.txt</a>').encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page[:-30])

        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        with pytest.raises(SourceError) as error:
            read("http_index", {"url": url, "allow_private": True})
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

    assert error.value.code == "cut_short"


@pytest.mark.parametrize("stream", ["documents", "records"])
def test_a_login_page_in_the_place_of_a_file_is_not_that_file(stream: str) -> None:
    name = "a.txt" if stream == "documents" else "a.csv"
    site = Site()
    site.put("/", NGINX.format(f'<a href="{name}">x</a>'))
    site.put(f"/{name}", "id,name\n1,one\n", "text/csv")
    with serving(site) as options:
        cursor = json.loads(json.dumps(read("http_index", options, stream)[-1].cursor))
        site.put(f"/{name}", "", status=302, to="/login")
        site.put("/login", LOGIN)
        found = read("http_index", options, stream, cursor=cursor)

    assert rows(found) == []
    assert [(r.position, r.code) for batch in found for r in batch.rejects] == [(name, "another_page")]


@pytest.mark.parametrize("status", [400, 402, 405, 451])
def test_a_file_that_is_refused_for_itself_keeps_no_other_from_being_read(status: int) -> None:
    site = Site()
    names = ("a.txt", "b.txt", "c.txt")
    site.put("/", NGINX.format("".join(f'<a href="{name}">{name}</a>' for name in names)))
    for name in names:
        site.put(f"/{name}", "text", "text/plain", status=status if name == "b.txt" else 200)
    with serving(site) as options:
        found = read("http_index", options)

    assert [row["path"] for row in rows(found)] == ["a.txt", "c.txt"]
    assert [(r.position, r.code) for batch in found for r in batch.rejects] == [("b.txt", "refused")]


@pytest.mark.parametrize("part", [(206, "bytes 0-2/9"), (206, "")], ids=["another part", "no word"])
def test_a_part_that_was_not_asked_for_is_not_believed(
    disk: FolderDisk, monkeypatch: pytest.MonkeyPatch, part: tuple[int, str]
) -> None:
    monkeypatch.setattr("bees.core.file_pass.SMALL", 8)
    monkeypatch.setattr("bees.core.storage.base.Storage.block", 16)
    disk.put("a.csv", b"id\n" + b"1\n" * 20)
    disk.put("b.csv", b"id\n2\n")
    with troubled(disk.options["url"]) as relay:
        told = {"Content-Range": part[1], "Content-Type": "text/csv"}
        relay.trouble = lambda method, path: (
            (part[0], told, b"id\n" + b"1\n" * 20) if method == "GET" and path == "/a.csv" else None
        )
        found = read("http_index", disk.options | {"url": relay.url}, "records")

    assert [row["id"] for row in rows(found)] == ["2"]
    assert [(r.position, r.code) for batch in found for r in batch.rejects] == [("a.csv", "no_ranges")]


def test_a_server_that_gives_another_version_than_it_tells_is_read_as_what_it_gives(disk: FolderDisk) -> None:
    """It knows nothing of If-Match, and tells by the ETag what it gave: one answer is of one version."""
    disk.put("a.txt", b"one")
    disk.put("b.txt", b"b")
    given = {"HEAD": '"one"', "GET": '"two"'}

    def versioned(method: str, path: str) -> Trouble | None:
        told = {"ETag": given[method], "Content-Type": "text/plain", "Content-Length": "3"}
        return (200, told, b"two") if path == "/a.txt" else None

    with troubled(disk.options["url"]) as relay:
        relay.trouble = versioned
        first = read("http_index", disk.options | {"url": relay.url})
        given["HEAD"] = given["GET"]
        second = read("http_index", disk.options | {"url": relay.url}, cursor=first[-1].cursor)

    assert [(row["path"], row["content"]) for row in rows(first)] == [("a.txt", b"two"), ("b.txt", b"b")]
    assert rows(second) == [], "it is another version by the listing, and has the content that came"
