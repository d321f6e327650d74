"""How the MySQL bee logs in: with and without encryption, by certificates, and to a MySQL 8 that is played."""

from __future__ import annotations

import datetime as dt
import ipaddress
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bees.core.errors import GiveUp
from bees.mysql import MySQLWorkerBee
from tests.bees.certificates import certificate
from tests.bees.mysql_peer import Peer
from tests.bees.mysql_source import Database, fly
from tests.servers.mariadb import PASSWORD, MariaDB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root, a server's certificate for 127.0.0.1 and a client's; and another root that signed nothing of it."""
    folder = tmp_path_factory.mktemp("certificates")
    root = _certificate(folder, "root", None)
    _certificate(folder, "server", root)
    _certificate(folder, "client", root)
    _certificate(folder, "other", None)
    return folder


def _certificate(folder: Path, name: str, signer: tuple[Any, Any] | None) -> tuple[Any, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer[0].subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
    )
    if signer:
        made = made.add_extension(address, critical=False)
    signed = made.sign(signer[1] if signer else key, hashes.SHA256())
    (folder / f"{name}.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    (folder / f"{name}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return signed, key


@pytest.fixture(scope="module")
def tls(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    server = MariaDB(
        tmp_path_factory.mktemp("tls"),
        f"--ssl-ca={certificates}/root.pem",
        f"--ssl-cert={certificates}/server.pem",
        f"--ssl-key={certificates}/server.key",
    )
    server.start()
    yield server
    server.stop(hard=True)


@pytest.fixture
def db(tls: MariaDB) -> Iterator[Database]:
    database = Database(tls)
    database.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT seq FROM seq_1_to_10")
    yield database
    database.close()


def encrypted(db: Database, **options: Any) -> bool:
    """Whether the session is, as the server sees it; all rows come in either case."""
    with db.bee(**options) as bee:
        assert [r["id"] for b in bee.collect_nectar("t", None) for r in b.table.to_pylist()] == list(range(1, 11))
        with bee.server.questions() as questions:
            return bool(questions.rows("SHOW STATUS LIKE 'Ssl_cipher'")[0][1])


@pytest.mark.servers
class TestEncryption:
    @pytest.mark.parametrize(
        ("mode", "root", "expected"),
        [
            ("disable", None, False),
            ("allow", None, True),
            ("prefer", None, True),
            ("require", None, True),
            ("require", "other", True),
            ("verify-ca", "root", True),
            ("verify-full", "root", True),
            ("verify-ca", "other", "bad_certificate"),
            ("verify-full", "other", "bad_certificate"),
            ("verify-full", None, "bad_certificate"),
        ],
    )
    def test_each_mode_asks_what_it_says(
        self, db: Database, certificates: Path, mode: str, root: str | None, expected: Any
    ) -> None:
        options = {"ssl_mode": mode} | ({"ssl_root_cert": f"{certificates}/{root}.pem"} if root else {})
        if isinstance(expected, bool):
            assert encrypted(db, **options) is expected
            return
        with db.bee(**options) as bee, pytest.raises(GiveUp) as error:
            bee.validate_flight_path()
        assert (error.value.code, error.value.where) == (expected, "ssl_root_cert")
        assert "authority" in str(error.value)

    def test_a_name_that_is_not_the_certificates_is_refused(self, db: Database, certificates: Path) -> None:
        options = {"host": "localhost", "ssl_root_cert": f"{certificates}/root.pem"}
        with db.bee(ssl_mode="verify-full", **options) as bee, pytest.raises(GiveUp) as error:
            bee.validate_flight_path()
        assert (error.value.code, error.value.where) == ("bad_certificate", "host")
        assert "another host name" in str(error.value)
        assert encrypted(db, ssl_mode="verify-ca", **options)

    @pytest.mark.parametrize(("days", "said"), [((-9, -1), "has expired"), ((1, 9), "not valid yet")])
    @pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
    def test_one_that_is_not_valid_now_is_told_as_such(
        self, db: Database, certificates: Path, tmp_path: Path, mode: str, days: tuple[int, int], said: str
    ) -> None:
        root = certificate(tmp_path, "localhost", days)
        options = {"host": "localhost", "ssl_root_cert": str(root)}
        served = [certificates / name for name in ("server.pem", "server.key")]
        before = [file.read_bytes() for file in served]
        try:
            for file in served:
                file.write_bytes(root.read_bytes())
            db.run("FLUSH SSL")
            with db.bee(ssl_mode=mode, **options) as bee, pytest.raises(GiveUp) as error:
                bee.validate_flight_path()
            assert encrypted(db, ssl_mode="require", host="localhost")
        finally:
            for file, content in zip(served, before, strict=True):
                file.write_bytes(content)
            db.run("FLUSH SSL")
        assert (error.value.code, error.value.where) == ("bad_certificate", "host")
        assert "localhost:" in str(error.value)
        assert said in str(error.value)

    def test_a_user_that_must_show_a_certificate_shows_it(self, db: Database, certificates: Path) -> None:
        db.run(f"ALTER USER '{db.user}'@'%' REQUIRE X509")
        root = {"ssl_mode": "verify-full", "ssl_root_cert": f"{certificates}/root.pem"}
        with db.bee(**root) as bee, pytest.raises(GiveUp) as error:
            bee.validate_flight_path()
        assert error.value.code == "denied"
        shown = {"ssl_cert": f"{certificates}/client.pem", "ssl_key": f"{certificates}/client.key"}
        assert encrypted(db, **root, **shown)

    def test_a_whole_flight_of_many_packets_comes_encrypted(self, db: Database) -> None:
        db.run(
            "CREATE TABLE q (id int PRIMARY KEY, wide text)",
            "INSERT INTO q SELECT seq, REPEAT('x', 999) FROM seq_1_to_5000",
        )
        records, _ = fly(db.bee(batch_rows=1000, ssl_mode="require"), "q")
        assert [r["id"] for r in records] == list(range(1, 5001))


class TestMySQL8:
    """Its greeting, caching_sha2_password and limits; played, because no MySQL 8 can be had here."""

    def bee(self, peer: Peer, **options: Any) -> MySQLWorkerBee:
        login = {"host": "127.0.0.1", "port": peer.port, "database": "d", "user": "u", "password": PASSWORD}
        return MySQLWorkerBee.from_options({**login, **options})

    @pytest.mark.parametrize("way", ["fast", "full"])
    def test_caching_sha2_password_by_hash_and_by_key(self, way: str) -> None:
        with Peer(way, PASSWORD) as peer, self.bee(peer, statement_timeout=7) as bee:
            bee.server.open().close()

        assert peer.failed is None
        assert not [said for said in peer.said if PASSWORD.encode() in said]
        settings = " ".join(peer.statements)
        assert "max_execution_time = 7000" in settings
        assert "max_statement_time" not in settings
        assert "SET SESSION TRANSACTION READ ONLY" in settings

    def test_a_password_is_not_shown_to_a_server_that_has_not_proved_who_it_is(self) -> None:
        with Peer("clear", PASSWORD) as peer, self.bee(peer) as bee, pytest.raises(GiveUp) as error:
            bee.server.open()

        assert error.value.code == "auth_plugin"
        assert not [said for said in peer.said if PASSWORD.encode() in said]
