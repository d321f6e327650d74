"""Encryption and certificates, against Debian's PostgreSQL 15; also that all reads as well from that version."""

from __future__ import annotations

import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from pydantic import ValidationError

from bees.core.errors import GiveUp
from bees.postgresql import PostgreSQLWorkerBee
from tests.bees.certificates import certificate
from tests.bees.contract import rows
from tests.servers.postgres15 import PASSWORD, Postgres15, postgres15  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.servers


@pytest.fixture(name="server")
def _server(postgres15: Postgres15) -> Postgres15:  # noqa: F811
    return postgres15


@pytest.fixture
def renewed(server: Postgres15, tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Gives the server another certificate: (name, days) -> the file that it is in; later it has its own again."""
    files = [server.folder / "data" / name for name in ("server.pem", "server.key")]
    before = [file.read_bytes() for file in files]

    def serve(contents: list[bytes]) -> None:
        for file, content in zip(files, contents, strict=True):
            file.write_bytes(content)
        wanted = ssl.PEM_cert_to_DER_cert(contents[0][: contents[0].index(b"-----END CERTIFICATE-----") + 26].decode())
        with psycopg.connect(server.url(), autocommit=True) as owner:
            owner.execute("SELECT pg_reload_conf()")
        until = time.monotonic() + 30
        while shown(server) != wanted:
            assert time.monotonic() < until
            time.sleep(0.05)

    def renew(name: str, days: tuple[int, int]) -> Path:
        made = certificate(tmp_path, name, days)
        serve([made.read_bytes()] * 2)
        return made

    yield renew
    serve(before)


def shown(server: Postgres15) -> bytes:
    """The certificate that the server shows, as DER."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", server.port), 10) as plain:
        plain.sendall(bytes([0, 0, 0, 8, 4, 210, 22, 47]))
        assert plain.recv(1) == b"S"
        with context.wrap_socket(plain) as wrapped:
            return wrapped.getpeercert(binary_form=True) or b""


def bee(server: Postgres15, user: str, **options: Any) -> PostgreSQLWorkerBee:
    plain = {"host": "localhost", "port": server.port, "database": "postgres", "user": user, "streams": {"t": {}}}
    return PostgreSQLWorkerBee.from_options(plain | {"password": "" if user == "certified" else PASSWORD} | options)


def encrypted(server: Postgres15, user: str) -> list[Any]:
    """The TLS versions of the user's sessions."""
    query = "SELECT s.version FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.usename = %s"
    with psycopg.connect(server.url()) as owner:
        return [version for (version,) in owner.execute(query, (user,))]


class TestModes:
    @pytest.mark.parametrize(
        ("user", "mode", "tls"),
        [
            ("plain", "disable", False),
            ("plain", "allow", False),
            ("ciphered", "allow", True),
            ("plain", "prefer", False),
            ("ciphered", "prefer", True),
            ("ciphered", "require", True),
        ],
    )
    def test_as_libpq_has_them(self, server: Postgres15, user: str, mode: str, tls: bool) -> None:
        with bee(server, user, ssl_mode=mode) as one:
            one.validate_flight_path()
            assert len(rows(list(one.collect_nectar("t", None)))) == 10
            assert set(encrypted(server, user)) == ({"TLSv1.3"} if tls else {None})

    @pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
    def test_the_servers_certificate_is_checked(self, server: Postgres15, mode: str) -> None:
        with bee(server, "ciphered", ssl_mode=mode, ssl_root_cert=str(server.folder / "ca.pem")) as one:
            one.validate_flight_path()
        for root in ("other-ca.pem", None):
            where = {"ssl_root_cert": str(server.folder / root)} if root else {}
            with bee(server, "ciphered", ssl_mode=mode, **where) as one, pytest.raises(GiveUp) as error:
                one.validate_flight_path()
            assert (error.value.code, error.value.where) == ("bad_certificate", "ssl_root_cert")
            assert "authority" in str(error.value)

    def test_the_name_counts_in_verify_full_alone(self, server: Postgres15) -> None:
        options: dict[str, Any] = {"host": "127.0.0.1", "ssl_root_cert": str(server.folder / "ca.pem")}
        with bee(server, "ciphered", ssl_mode="verify-ca", **options) as one:
            one.validate_flight_path()
        with bee(server, "ciphered", ssl_mode="verify-full", **options) as one, pytest.raises(GiveUp) as error:
            one.validate_flight_path()
        assert (error.value.code, error.value.where) == ("bad_certificate", "host")
        assert "another host name" in str(error.value)

    @pytest.mark.parametrize(("days", "said"), [((-9, -1), "has expired"), ((1, 9), "not valid yet")])
    @pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
    def test_one_that_is_not_valid_now_is_told_as_such(
        self, server: Postgres15, renewed: Callable[..., Path], mode: str, days: tuple[int, int], said: str
    ) -> None:
        root = renewed("localhost", days)
        with bee(server, "ciphered", ssl_mode=mode, ssl_root_cert=str(root)) as one, pytest.raises(GiveUp) as error:
            one.validate_flight_path()
        assert (error.value.code, error.value.where) == ("bad_certificate", "host")
        assert f"localhost:{server.port}" in str(error.value)
        assert said in str(error.value)
        with bee(server, "ciphered", ssl_mode="require") as one:
            one.validate_flight_path()

    def test_a_file_without_authorities_is_named(self, server: Postgres15, tmp_path: Path) -> None:
        (tmp_path / "empty.pem").touch()
        for name in ("empty.pem", "none.pem"):
            one = bee(server, "ciphered", ssl_mode="verify-ca", ssl_root_cert=str(tmp_path / name))
            with one, pytest.raises(GiveUp, match="`ssl_root_cert`") as error:
                one.validate_flight_path()
            assert error.value.code == "bad_certificate"

    @pytest.mark.parametrize(("user", "mode"), [("plain", "require"), ("ciphered", "disable")])
    def test_a_mode_that_the_server_refuses(self, server: Postgres15, user: str, mode: str) -> None:
        with bee(server, user, ssl_mode=mode) as one, pytest.raises(GiveUp) as error:
            one.validate_flight_path()
        assert error.value.code == "denied"
        assert PASSWORD not in str(error.value)


class TestCertificates:
    @pytest.fixture
    def files(self, server: Postgres15) -> dict[str, str]:
        names = {"ssl_root_cert": "ca.pem", "ssl_cert": "client.pem", "ssl_key": "client.key"}
        return {option: str(server.folder / name) for option, name in names.items()}

    def test_a_client_shows_its_own(self, server: Postgres15, files: dict[str, str]) -> None:
        with bee(server, "certified", ssl_mode="verify-full", **files) as one:
            one.validate_flight_path()
            assert len(rows(list(one.collect_nectar("t", None)))) == 10

    def test_a_key_may_be_locked(self, server: Postgres15, files: dict[str, str]) -> None:
        locked = files | {"ssl_key": str(server.folder / "locked.key")}
        with bee(server, "certified", ssl_mode="verify-full", ssl_key_password="open sesame", **locked) as one:
            one.validate_flight_path()
            assert "open sesame" not in repr(one.options)
        with bee(server, "certified", ssl_mode="verify-full", ssl_key_password="wrong", **locked) as one:
            with pytest.raises(GiveUp) as error:
                one.validate_flight_path()
            assert error.value.code in ("no_tls", "denied")

    def test_without_it_the_login_is_refused(self, server: Postgres15) -> None:
        with bee(server, "certified", ssl_mode="require") as one, pytest.raises(GiveUp) as error:
            one.validate_flight_path()
        assert error.value.code in ("no_tls", "denied")

    def test_one_of_another_name_is_refused(self, server: Postgres15, files: dict[str, str]) -> None:
        with bee(server, "owner", ssl_mode="verify-full", **files) as one, pytest.raises(GiveUp) as error:
            one.validate_flight_path()
        assert error.value.code == "writable_role"  # it came in by its password
        with bee(server, "nobody", ssl_mode="verify-full", **files) as one, pytest.raises(GiveUp) as error:
            one.validate_flight_path()
        assert error.value.code == "denied"

    def test_a_key_that_is_missing_or_open_to_all_is_named(self, server: Postgres15, files: dict[str, str]) -> None:
        loose = server.folder / "loose.key"
        loose.write_bytes((server.folder / "client.key").read_bytes())
        loose.chmod(0o644)
        for key in (loose, server.folder / "no such.key"):
            with bee(server, "certified", ssl_mode="verify-full", **files | {"ssl_key": str(key)}) as one:
                with pytest.raises(GiveUp) as error:
                    one.validate_flight_path()
                assert error.value.code == "no_tls"

    def test_a_certificate_needs_its_key(self, server: Postgres15) -> None:
        with pytest.raises(ValidationError, match="both"):
            bee(server, "certified", ssl_cert="client.pem")


class TestSchemas:
    @pytest.fixture
    def shops(self, server: Postgres15) -> Iterator[Postgres15]:
        with psycopg.connect(server.url(), autocommit=True) as owner:
            owner.execute(
                'CREATE SCHEMA north; CREATE SCHEMA "so.uth"; CREATE TABLE north.a (id int PRIMARY KEY);'
                'CREATE TABLE "so.uth".b (id int PRIMARY KEY); CREATE TABLE "so.uth".a (id int PRIMARY KEY);'
                'INSERT INTO north.a VALUES (1); INSERT INTO "so.uth".a VALUES (2); INSERT INTO "so.uth".b VALUES (3);'
                'GRANT USAGE ON SCHEMA north, "so.uth" TO ciphered;'
                'GRANT SELECT ON ALL TABLES IN SCHEMA north, "so.uth" TO ciphered'
            )
            yield server
            owner.execute('DROP SCHEMA north CASCADE; DROP SCHEMA "so.uth" CASCADE')

    def test_tables_of_several_are_read(self, shops: Postgres15) -> None:
        with bee(shops, "ciphered", schema="north", schemas=["so.uth"], streams={}) as one:
            names = [stream.name for stream in one.get_pollen_schema()]
            found = {name: rows(list(one.collect_nectar(name, None))) for name in names}
        assert found == {"a": [{"id": 1}], '"so.uth".a': [{"id": 2}], '"so.uth".b': [{"id": 3}]}

    def test_names_of_queries_are_looked_for_in_their_order(self, shops: Postgres15) -> None:
        streams = {"q": {"query": "SELECT a.id, b.id AS other FROM a, b", "key": "id"}}
        with bee(shops, "ciphered", schema="north", schemas=["so.uth"], streams=streams) as one:
            assert rows(list(one.collect_nectar("q", None))) == [{"id": 1, "other": 3}]


class TestTypesOfExtensions:
    def test_they_travel_as_the_text_that_the_server_writes(self, server: Postgres15) -> None:
        names = ("hstore", "citext", "ltree", "cube", "seg", "isn")
        columns = "h hstore, c citext, l ltree, u cube, s seg, i isbn13"
        values = "'a=>1, \"b c\"=>NULL', 'MiXed', 'top.a.b', '(1, 2), (3, 4)', '1.5 .. 2', '978-0-393-04002-9'"
        with psycopg.connect(server.url(), autocommit=True) as owner:
            for name in names:
                owner.execute(f"CREATE EXTENSION {name}".encode())
            try:
                owner.execute(f"CREATE TABLE e (id int PRIMARY KEY, {columns})".encode())
                owner.execute(f"INSERT INTO e VALUES (1, {values})".encode())
                owner.execute("GRANT SELECT ON e TO ciphered")
                told = owner.execute("SELECT h::text, c::text, l::text, u::text, s::text, i::text FROM e").fetchone()
                with bee(server, "ciphered", streams={"e": {}}) as one:
                    (found,) = rows(list(one.collect_nectar("e", None)))
            finally:
                for name in names:
                    owner.execute(f"DROP EXTENSION {name} CASCADE".encode())
                owner.execute("DROP TABLE e")
        assert tuple(found.values()) == (1, *(told or ()))
