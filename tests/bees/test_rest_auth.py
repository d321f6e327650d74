"""Ways to log in, against a certified OpenID provider, AWS's own signer and a TLS server that wants a certificate."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
import traceback
import types
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from pydantic import SecretStr, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bees.core.errors import GiveUp
from bees.core.http import Credentials, HttpClient
from bees.core.rest.auth import Auth
from bees.core.rest.device import device_login
from bees.core.rest.login import AwsLogin, jwt
from bees.rest import RestBee
from hive.demo.api import running
from tests.servers.web import oidc_provider

SECRET = "canary-secret-4711-of-the-client"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()


def number(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()


def client(name: str, method: str, **more: Any) -> dict[str, Any]:
    grants = more.pop("grants", ["client_credentials"])
    return {"client_id": name, "client_secret": SECRET, "token_endpoint_auth_method": method, "grant_types": grants,
            "redirect_uris": [], "response_types": [], **more}  # fmt: skip


PUBLIC = KEY.public_key().public_numbers()
JWKS = {
    "keys": [{"kty": "RSA", "kid": "k1", "use": "sig", "alg": "RS256", "n": number(PUBLIC.n), "e": number(PUBLIC.e)}]
}
CLIENTS = [
    client("by-basic", "client_secret_basic"),
    client("by-body", "client_secret_post"),
    {k: v for k, v in client("by-key", "private_key_jwt", jwks=JWKS).items() if k != "client_secret"},
    client("person", "client_secret_basic", application_type="native",
           grants=["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"]),
]  # fmt: skip


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with oidc_provider(tmp_path_factory.mktemp("oidc"), CLIENTS, life=600) as url:
        yield url


def bee(url: str, auth: dict[str, Any], **source: Any) -> RestBee:
    things = {"path": "/api/things", "key": "id", "pagination": {"type": "page"}}
    return RestBee.from_options(
        {"base_url": url, "allow_private": True, "auth": auth, "streams": {"things": things}, **source}
    )


def read(url: str, auth: dict[str, Any], **source: Any) -> list[int]:
    with bee(url, auth, **source) as reader:
        return [row["id"] for batch in reader.collect_nectar("things", None) for row in batch.table.to_pylist()]


def by(url: str, name: str, **more: Any) -> dict[str, Any]:
    return {
        "method": "oauth2_client_credentials",
        "token_url": f"{url}/token",
        "client_id": name,
        "scope": "read",
        **more,
    }


@pytest.mark.servers
class TestProvider:
    @pytest.mark.parametrize(
        ("name", "more"),
        [
            ("by-basic", {"client_secret": SECRET}),
            ("by-body", {"client_secret": SECRET, "client_auth": "body"}),
            ("by-key", {"client_auth": "assertion", "private_key": PEM, "key_id": "k1"}),
        ],
    )
    def test_a_client_gets_a_token_once_and_reads(self, provider: str, name: str, more: dict[str, Any]) -> None:
        audience = {"audience": provider} if name == "by-key" else {}
        before = httpx.get(f"{provider}/_asked").json().count("/token")

        assert read(provider, by(provider, name, **more, **audience)) == [1, 2, 3]
        assert httpx.get(f"{provider}/_asked").json().count("/token") == before + 1

    def test_a_wrong_secret_is_named_and_not_shown(self, provider: str) -> None:
        wrong = SECRET.replace("4711", "4712")
        with pytest.raises(GiveUp) as error:
            read(provider, by(provider, "by-basic", client_secret=wrong))

        assert (error.value.code, error.value.where) == ("denied", "auth.token_url")
        assert "client_id" in error.value.advice
        assert wrong not in "".join(traceback.format_exception(error.value))

    def test_a_token_that_is_refused_in_the_middle_is_renewed_once(self, provider: str) -> None:
        auth = by(provider, "by-basic", client_secret=SECRET)
        with bee(provider, auth) as reader:
            pages = iter(reader.collect_nectar("things", None))
            first = next(pages)
            with pytest.raises(GiveUp):  # it renews, tells the API to forget that one too, and gives up
                reader._source.ask(reader._source.url("/api/things?forget=1", {}), "here", {})
            before = httpx.get(f"{provider}/_asked").json().count("/token")
            rest = [row["id"] for batch in pages for row in batch.table.to_pylist()]
            after = httpx.get(f"{provider}/_asked").json().count("/token")

        assert [row["id"] for row in first.table.to_pylist()] + rest == [1, 2, 3]
        assert after == before + 1

    def test_a_token_is_renewed_before_its_end(self, tmp_path: Path) -> None:
        with oidc_provider(tmp_path, CLIENTS, life=2) as url:
            auth = by(url, "by-basic", client_secret=SECRET, renew_before=1)
            with bee(url, auth) as reader:
                pages = iter(reader.collect_nectar("things", None))
                next(pages)
                time.sleep(1.3)
                rest = [row["id"] for batch in pages for row in batch.table.to_pylist()]
            asked = httpx.get(f"{url}/_asked").json()

        assert rest == [2, 3]
        assert asked.count("/token") == 2
        assert asked.count("/api/things") == 4, "no request was refused"

    def test_a_person_logs_in_elsewhere_and_the_refresh_token_reads(self, provider: str) -> None:
        told: list[tuple[str, str]] = []

        def tell(address: str, code: str) -> None:
            told.append((address, code))
            httpx.get(f"{provider}/_approve", params={"code": code}).raise_for_status()

        fields = {"client_id": "person", "scope": "openid offline_access read", "prompt": "consent"}
        dial = HttpClient(provider, credentials=basic_of("person"), allow_private=True)
        urls = (f"{provider}/device/auth", f"{provider}/token")
        token = device_login(dial, urls, fields, tell, sleep=lambda _: None)
        dial.close()
        auth = {"method": "oauth2_refresh_token", "token_url": f"{provider}/token", "client_id": "person",
                "client_secret": SECRET, "refresh_token": token}  # fmt: skip

        assert told[0][0] == f"{provider}/device"
        assert read(provider, auth) == [1, 2, 3]


def basic_of(name: str) -> Credentials:
    pair = base64.b64encode(f"{name}:{SECRET}".encode()).decode()
    return Credentials({"Authorization": f"Basic {pair}"})


class TestJwt:
    def test_an_assertion_is_signed_so_that_its_public_key_says_so(self) -> None:
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

        head, claims, signature = jwt({"iss": "me"}, PEM, "k1").split(".")
        raw = base64.urlsafe_b64decode(signature + "==")

        KEY.public_key().verify(raw, f"{head}.{claims}".encode(), PKCS1v15(), hashes.SHA256())
        assert json.loads(base64.urlsafe_b64decode(head + "==")) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}

    @pytest.mark.parametrize("pem", ["no key", PEM.replace("A", "B", 40)])
    def test_a_key_that_is_none_is_named_and_not_shown(self, pem: str) -> None:
        with pytest.raises(GiveUp) as error:
            jwt({}, pem)

        assert error.value.where == "auth.private_key"
        assert "BEGIN" not in str(error.value)

    def test_an_assertion_by_a_wrong_clock_is_made_anew_by_the_servers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[int] = []
        key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

        async def token(request: Request) -> Response:
            form = httpx.QueryParams((await request.body()).decode())
            claims = json.loads(base64.urlsafe_b64decode(form["assertion"].split(".")[1] + "=="))
            seen.append(claims["iat"])
            skewed = abs(claims["iat"] - datetime.now(UTC).timestamp()) > 60
            told = {"error": "invalid_grant"} if skewed else {"access_token": "t1", "expires_in": 60}
            return JSONResponse(told, 400 if skewed else 200)

        async def things(request: Request) -> Response:
            page = int(request.query_params["page"])
            right = request.headers["authorization"] == "Bearer t1"
            return JSONResponse([{"id": page}] if page < 3 else [], 200 if right else 401)

        routes = [Route("/token", token, methods=["POST"]), Route("/api/things", things)]
        slow = types.SimpleNamespace(time=lambda: time.time() - 3600, monotonic=time.monotonic)
        with running(Starlette(routes=routes)) as url:
            monkeypatch.setattr("bees.core.rest.login.time", slow)
            monkeypatch.setattr("bees.core.http.time", slow)
            auth = {
                "method": "jwt_bearer",
                "token_url": f"{url}/token",
                "issuer": "robot@desk",
                "private_key": key.decode(),
            }
            assert read(url, auth) == [1, 2]

        assert len(seen) == 2


class TestAws:
    AUTH = Auth(method="aws_sigv4", access_key="AKIDEXAMPLE", secret_key=SecretStr("wJalrXUtnFEMI/K7MDENG+bPxRfiCY"),
                region="eu-central-1", service="execute-api")  # fmt: skip

    @pytest.mark.parametrize("token", [None, "session-1"])
    @pytest.mark.parametrize(
        ("method", "url", "content"),
        [
            ("GET", "https://api.example/stage/items?b=2&a=x%20y&a=%C3%A9", None),
            ("POST", "https://api.example:8443/stage/a%2Fb/c", b'{"n": 1}'),
            ("GET", "https://api.example/", None),
        ],
    )
    def test_signatures_are_those_of_the_vendors_own_library(
        self, monkeypatch: pytest.MonkeyPatch, method: str, url: str, content: bytes | None, token: str | None
    ) -> None:
        import botocore.auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials as Keys

        now = datetime(2026, 3, 10, 12, 0, 5, tzinfo=UTC)
        for name in ("get_current_datetime", "datetime"):
            if name == "get_current_datetime" and hasattr(botocore.auth, name):
                monkeypatch.setattr(botocore.auth, name, lambda **_: now.replace(tzinfo=None))
        auth = self.AUTH.model_copy(update={"session_token": SecretStr(token) if token else None})
        secret = self.AUTH.secret_key.get_secret_value() if self.AUTH.secret_key else ""
        theirs = AWSRequest(method, url, data=content or b"")
        theirs.headers["X-Amz-Content-SHA256"] = __import__("hashlib").sha256(content or b"").hexdigest()
        botocore.auth.SigV4Auth(Keys("AKIDEXAMPLE", secret, token), "execute-api", "eu-central-1").add_auth(theirs)
        ours = AwsLogin(auth, Credentials(), clock=now.timestamp).signed(method, httpx.URL(url), content)

        assert ours["x-amz-date"] == theirs.headers["X-Amz-Date"] == "20260310T120005Z"
        assert ours["Authorization"] == theirs.headers["Authorization"]

    def test_a_wrong_clock_is_set_by_the_servers_once(self) -> None:
        login = AwsLogin(self.AUTH, Credentials(), clock=lambda: 1_000_000.0)

        assert login.renew(403, 3600.0)
        assert login.signed("GET", httpx.URL("https://x.example/"), None)["x-amz-date"] == "19700112T144640Z"
        assert not login.renew(403, 3601.0)


def certificate(name: str, by: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None) -> tuple[Any, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(by[0].subject if by else subject)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(by[1] if by else key, hashes.SHA256())
    )  # fmt: skip
    return made, key


def pem(made: Any, key: Any) -> tuple[str, str]:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


class Things(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'[{"id": 1}]' if "page=1" in self.path else b"[]"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def authority() -> tuple[Any, Any]:
    return certificate("our authority", None)


@pytest.fixture(scope="module")
def strict(authority: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A TLS server that wants a certificate of the authority."""
    folder = tmp_path_factory.mktemp("tls")
    (folder / "pair.pem").write_text("".join(pem(*certificate("localhost", authority))))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pair.pem")
    context.load_verify_locations(cadata=pem(*authority)[0])
    context.verify_mode = ssl.CERT_REQUIRED
    server = ThreadingHTTPServer(("127.0.0.1", 0), Things)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class TestCertificates:
    def test_our_certificate_opens_the_door_and_its_authority_is_trusted(
        self, strict: str, authority: tuple[Any, Any]
    ) -> None:
        ours, key = pem(*certificate("the bee", authority))
        tls = {"certificate": ours, "key": key, "authorities": pem(*authority)[0]}

        assert read(strict, {}, tls=tls) == [1]
        assert key not in repr(
            RestBee.Options.model_validate({"base_url": strict, "tls": tls, "streams": {"x": {"path": "/x"}}})
        )

    def test_without_it_nobody_comes_in(self, strict: str, authority: tuple[Any, Any]) -> None:
        with pytest.raises(Exception, match=r"connection|certificate"):
            read(strict, {}, tls={"authorities": pem(*authority)[0]})

    def test_a_server_of_another_authority_is_not_trusted(self, strict: str) -> None:
        with pytest.raises(GiveUp) as error:
            read(strict, {})

        assert error.value.code == "bad_certificate"

    def test_what_is_no_certificate_is_named(self, strict: str) -> None:
        with pytest.raises(GiveUp) as error:
            read(strict, {}, tls={"certificate": "canary", "key": "canary"})

        assert (error.value.code, error.value.where) == ("bad_certificate", "tls")
        assert "canary" not in str(error.value)


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ({"method": "oauth2_client_credentials"}, "needs token_url and client_id"),
        ({"method": "oauth2_refresh_token", "token_url": "https://x.example", "client_id": "a"}, "needs refresh_token"),
        ({"method": "jwt_bearer", "token_url": "https://x.example"}, "needs issuer and private_key"),
        ({"method": "aws_sigv4", "access_key": "a"}, "needs secret_key and region and service"),
        ({"method": "oauth2_client_credentials", "token_url": "ftp://x", "client_id": "a"}, "http and https"),
        ({"client_secret": "hunter2"}, "set method"),
        ({"method": "oauth2", "client_id": "a", "client_secret": "hunter2"}, "client_credentials needs token_url"),
        ({"method": "oauth2", "client_id": "a", "refresh_token": "hunter2"}, "refresh_token needs token_url"),
        ({"method": "bearer", "token": "hunter2", "client_auth": "assertion"}, "needs private_key"),
    ],
)
def test_a_login_that_lacks_something_says_what(auth: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as error:
        Auth.model_validate(auth)

    assert "hunter2" not in str(error.value)
