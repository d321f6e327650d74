from __future__ import annotations

import datetime as dt
import http.server
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bees.core.errors import GiveUp
from bees.core.http import HttpClient

if TYPE_CHECKING:
    from pathlib import Path


def test_a_certificate_is_checked_against_the_name_while_the_checked_address_is_dialled(tmp_path: Path) -> None:
    files = _certificate(tmp_path, "api.example")
    with _tls_server(files) as port:
        trusting = ssl.create_default_context(cafile=str(files))
        good = HttpClient(
            f"https://api.example:{port}", allow_private=True, tls=trusting, resolve=lambda *_: ["127.0.0.1"]
        )
        assert good.get(f"https://api.example:{port}/", where="w").body == b"api.example"
        good.close()
        for name, tls in (("other.example", trusting), ("api.example", None)):
            bad = HttpClient(f"https://{name}:{port}", allow_private=True, tls=tls, resolve=lambda *_: ["127.0.0.1"])
            with pytest.raises(GiveUp) as error:
                bad.get(f"https://{name}:{port}/", where="w")
            bad.close()
            assert error.value.code == "bad_certificate"


@pytest.mark.parametrize(
    ("days", "trusted", "says"),
    [((-9, -1), True, "expired"), ((1, 9), True, "not yet valid"), ((-1, 1), False, "self-signed")],
)
def test_a_certificate_that_does_not_hold_is_refused_by_its_fault(
    tmp_path: Path, days: tuple[int, int], trusted: bool, says: str
) -> None:
    files = _certificate(tmp_path, "api.example", days)
    tls = ssl.create_default_context(cafile=str(files)) if trusted else None
    with _tls_server(files) as port:
        url = f"https://api.example:{port}/"
        client = HttpClient(url, allow_private=True, tls=tls, resolve=lambda *_: ["127.0.0.1"])
        with pytest.raises(GiveUp) as error:
            client.get(url, where="w")
        client.close()

    assert error.value.code == "bad_certificate"
    assert says in str(error.value)
    assert error.value.advice


def _certificate(folder: Path, name: str, days: tuple[int, int] = (-1, 1)) -> Path:
    """Valid from so many days from now to so many."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now + dt.timedelta(days=days[0]))
        .not_valid_after(now + dt.timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "server.pem"
    path.write_bytes(made.public_bytes(pem) + private)
    return path


class _SayName(http.server.BaseHTTPRequestHandler):
    """Answers with the Host that was asked for."""

    def do_GET(self) -> None:
        body = self.headers["Host"].partition(":")[0].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _tls_server:  # noqa: N801 - used as a context manager only
    def __init__(self, certificate: Path) -> None:
        self.server = http.server.HTTPServer(("127.0.0.1", 0), _SayName, bind_and_activate=True)
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # refused handshakes are meant
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> int:
        self.thread.start()
        return int(self.server.server_address[1])

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
