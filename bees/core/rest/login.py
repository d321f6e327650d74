"""Credentials that do not last: OAuth 2.0 tokens and AWS signatures.

    oauth2_client_credentials, oauth2_refresh_token   RFC 6749 (4.4, 6)
    jwt_bearer, client_auth: assertion                RFC 7523 (2.1, 2.2), JWT signed with RS256 or ES256 (RFC 7518)
    aws_sigv4                                         "Signature Version 4 signing process", AWS General Reference

A server that gives a new refresh token with each access token is followed: in a hive by all workers, which share what
it gave last (`bees.core.rest.tokens`), in bare Python while the bee is open.

A clock that is wrong is told by the server's Date: what is signed then goes by the server's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from bees.core.errors import GiveUp
from bees.core.http import Credentials, basic
from bees.core.rest.tokens import Tokens
from nectar.errors import SkipRecord
from nectar.jsonrows import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx
    from pydantic import SecretStr

    from bees.core.http import HttpClient, Login
    from bees.core.rest.auth import Auth
    from bees.core.rest.tokens import TokenStore

_FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
LIFE = 300.0  # seconds: of a token whose end nobody tells, and of what we sign
_SKEWED = 30.0  # seconds that clocks may differ before what is signed goes by the server's
ADVICE = "check auth: token_url, client_id, its secret or key, scope"
AGAIN = "check auth; if the refresh token was used up or withdrawn, log in again with `hive comb login`"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def login(
    auth: Auth, fixed: Credentials, dial: Callable[[str], HttpClient], store: TokenStore | None = None
) -> Login | None:
    """What logs in with these options; None: the fixed credentials are all there is. `dial` opens the token server."""
    if auth.method == "aws_sigv4":
        return AwsLogin(auth, fixed)
    return TokenLogin(auth, fixed, dial, store) if auth.token_url and auth.method != "none" else None


class TokenLogin:
    """A bearer token, fetched when it is needed, again shortly before its end, and once when it is refused."""

    def __init__(
        self, auth: Auth, fixed: Credentials, dial: Callable[[str], HttpClient], store: TokenStore | None = None
    ) -> None:
        """`store`: where the tokens of a refresh token are, for those who share it."""
        self._auth = auth
        self._fixed = fixed
        self._dial = dial
        self._store = store if auth.method == "oauth2_refresh_token" else None
        self._refused = ""
        self._token = ""
        self._ends = 0.0
        self._skew = 0.0
        self._refresh = _plain(auth.refresh_token)

    def current(self) -> Credentials:
        if not self._token or time.monotonic() >= self._ends:
            self._fetch()
        headers = {**self._fixed.headers, "Authorization": f"Bearer {self._token}"}
        return Credentials(headers, self._fixed.params, "auth: the client and what it may read")

    def renew(self, status: int, skew: float) -> bool:  # noqa: ARG002 - of the source's clock; the token server has its own
        if status != 401:
            return False
        self._refused, self._token = self._token, ""
        return True

    def signed(self, method: str, url: httpx.URL, content: bytes | None) -> Mapping[str, str]:  # noqa: ARG002
        return {}

    def _fetch(self) -> None:
        if self._store is None:
            self._take(self._given())
            return
        with self._store.turn() as turn:
            held = turn.tokens
            if held is not None and held.access != self._refused and held.ends - time.time() > self._auth.renew_before:
                self._token, self._refresh = held.access, held.refresh
                self._ends = time.monotonic() + held.ends - time.time() - self._auth.renew_before
                return
            first = _plain(self._auth.refresh_token)
            self._refresh = held.refresh if held is not None else first
            try:
                told = self._given()
            except GiveUp as error:
                if error.code != "denied" or self._refresh == first:
                    raise
                self._refresh = first  # what was kept may be older than the login, as after a restore
                told = self._given()
            life = self._take(told)
            turn.keep(Tokens(self._token, time.time() + life, self._refresh))

    def _given(self) -> dict[str, Any]:
        """What the token server says, once more by its own clock where ours is wrong."""
        with closing(self._dial(self._auth.token_url)) as client:
            try:
                return self._asked(client)
            except GiveUp:
                skew = client.skew
                if not self._auth.private_key or abs(skew - self._skew) < _SKEWED:
                    raise
                self._skew = skew
                return self._asked(client)

    def _take(self, told: Mapping[str, Any]) -> float:
        """Hold what was given; the seconds that the access token lasts."""
        token, life = told.get("access_token"), seconds(told.get("expires_in"))
        if not isinstance(token, str) or not token:
            raise GiveUp("the answer holds no access_token", code="denied", where="auth.token_url", advice=ADVICE)
        self._token = token
        self._ends = time.monotonic() + max(life - self._auth.renew_before, min(life / 2, 1.0))
        if isinstance(told.get("refresh_token"), str):
            self._refresh = told["refresh_token"]
        return life

    def _asked(self, client: HttpClient) -> dict[str, Any]:
        fields, headers = self._request()
        problem: GiveUp
        try:
            return posted(client, self._auth.token_url, fields, "auth.token_url", headers=headers)
        except GiveUp as error:
            problem = error
            if error.code in ("denied", "unexpected_status"):
                message = "the token server refuses the client or what it asks for"
                advice = AGAIN if self._auth.method == "oauth2_refresh_token" else ADVICE
                problem = GiveUp(message, code="denied", where="auth.token_url", advice=advice)
        raise problem

    def _request(self) -> tuple[dict[str, str], dict[str, str]]:
        """Fields and headers of the token request."""
        auth = self._auth
        fields, headers = dict(auth.token_params), dict(_FORM)
        if auth.scope:
            fields["scope"] = " ".join(auth.scope)
        if auth.method == "jwt_bearer":
            claims = {"iss": auth.issuer, "sub": auth.subject or auth.issuer}
            return {**fields, "grant_type": _JWT_GRANT, "assertion": self._jwt(claims)}, headers
        if auth.method == "oauth2_refresh_token":
            fields |= {"grant_type": "refresh_token", "refresh_token": self._refresh}
        else:
            fields["grant_type"] = "client_credentials"
        secret = _plain(auth.client_secret)
        if auth.client_auth == "assertion":
            claims = {"iss": auth.client_id, "sub": auth.client_id, "jti": secrets.token_urlsafe(16)}
            fields |= {"client_id": auth.client_id, "client_assertion_type": _ASSERTION}
            fields["client_assertion"] = self._jwt(claims)
        elif auth.client_auth == "basic" and secret:
            headers["Authorization"] = basic(quote(auth.client_id, safe=""), quote(secret, safe=""))
        else:
            fields |= {"client_id": auth.client_id, **({"client_secret": secret} if secret else {})}
        return fields, headers

    def _jwt(self, claims: dict[str, Any]) -> str:
        auth = self._auth
        now = int(time.time() + self._skew)
        whole = {"aud": auth.audience or auth.token_url, "iat": now, "exp": now + int(LIFE), **claims}
        if auth.scope and auth.method == "jwt_bearer":
            whole["scope"] = " ".join(auth.scope)  # Google reads it here, others in the form
        return jwt(whole, _plain(auth.private_key), auth.key_id)


def jwt(claims: Mapping[str, Any], private_key: str, key_id: str = "") -> str:
    """A signed JSON Web Token. Raises GiveUp for a key that is none."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(private_key.encode(), None)
    except (ValueError, TypeError):
        key = None
    elliptic = isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)
    if not elliptic and not isinstance(key, rsa.RSAPrivateKey):
        advice = "give a PEM private key without a password, RSA or EC P-256"
        raise GiveUp("the private key cannot be used", code="bad_credentials", where="auth.private_key", advice=advice)
    header = {"alg": "ES256" if elliptic else "RS256", "typ": "JWT", **({"kid": key_id} if key_id else {})}
    signing = ".".join(_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(signing.encode(), padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        r, s = decode_dss_signature(key.sign(signing.encode(), ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return f"{signing}.{_base64url(signature)}"


class AwsLogin:
    """Signature Version 4: each request is signed with a key of the day."""

    def __init__(self, auth: Auth, fixed: Credentials, clock: Callable[[], float] = time.time) -> None:
        self._auth = auth
        self._fixed = Credentials(fixed.headers, fixed.params, "auth.access_key and auth.secret_key")
        self._clock = clock
        self._skew = 0.0

    def current(self) -> Credentials:
        return self._fixed

    def renew(self, status: int, skew: float) -> bool:
        """A clock that is wrong is the one thing that another signature can mend."""
        if status not in (400, 401, 403) or abs(skew - self._skew) < _SKEWED:
            return False
        self._skew = skew
        return True

    def signed(self, method: str, url: httpx.URL, content: bytes | None) -> Mapping[str, str]:
        auth = self._auth
        now = datetime.fromtimestamp(self._clock() + self._skew, UTC)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        host = url.netloc.decode()
        digest = hashlib.sha256(content or b"").hexdigest()
        sent = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": stamp}
        if auth.session_token:
            sent["x-amz-security-token"] = _plain(auth.session_token)
        names = ";".join(sorted(sent))
        query = "&".join(sorted(f"{_quoted(k)}={_quoted(v)}" for k, v in url.params.multi_items()))
        raw_path = url.raw_path.partition(b"?")[0].decode()
        path = raw_path if auth.service == "s3" else quote(raw_path, safe="/-_.~")
        lines = "".join(f"{name}:{sent[name]}\n" for name in sorted(sent))
        canonical = "\n".join((method, path or "/", query, lines, names, digest))
        scope = f"{day}/{auth.region}/{auth.service}/aws4_request"
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        key = f"AWS4{_plain(auth.secret_key)}".encode()
        for part in (day, auth.region, auth.service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashed}".encode(), "sha256").hex()
        told = f"Credential={auth.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        headers = {name: value for name, value in sent.items() if name != "host"}
        return {**headers, "Authorization": f"AWS4-HMAC-SHA256 {told}"}


def posted(
    client: HttpClient,
    url: str,
    fields: Mapping[str, str],
    where: str,
    *,
    headers: Mapping[str, str] = _FORM,
    also: tuple[int, ...] = (),
) -> dict[str, Any]:
    content = urlencode(fields).encode()
    answer = client.request("POST", url, where=where, headers=headers, content=content, also=also)
    try:
        told = parse(answer.body)
    except SkipRecord:
        told = None
    if isinstance(told, dict):
        return told
    raise GiveUp("the answer is no JSON object", code="denied", where=where, advice=ADVICE)


def seconds(value: Any, otherwise: float = LIFE) -> float:
    """A length of time that a server tells; some write the number as text."""
    if isinstance(value, str) and value.isdecimal():
        return float(value)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise


def _plain(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
