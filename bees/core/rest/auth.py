"""How a bee proves who it is: the options. What they become is in `bees.core.rest.login`."""

from __future__ import annotations

import re
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from bees.core.bee import BeeOptions, Name, Seconds, Words
from bees.core.errors import GiveUp
from bees.core.http import Credentials, basic, checked_url

Method = Literal[
    "none", "bearer", "basic", "api_key",
    "oauth2_client_credentials", "oauth2_refresh_token", "jwt_bearer", "aws_sigv4",
]  # fmt: skip
_SECRETS = ("token", "password", "key", "client_secret", "refresh_token", "private_key", "secret_key")
_NEEDS: dict[str, tuple[str, ...]] = {
    "none": (),
    "bearer": ("token",),
    "basic": ("password",),
    "api_key": ("key",),
    "oauth2_client_credentials": ("token_url", "client_id"),
    "oauth2_refresh_token": ("token_url", "client_id", "refresh_token"),
    "jwt_bearer": ("token_url", "issuer", "private_key"),
    "aws_sigv4": ("access_key", "secret_key", "region", "service"),
}


def _header_named(name: str) -> str:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise ValueError("a header's name is letters, digits and hyphens, such as X-Tenant")
    return name


HeaderName = Annotated[str, AfterValidator(_header_named)]


class Auth(BeeOptions):
    """How the bee proves who it is."""

    method: Method = Field("none", description="none, bearer, basic, api_key, or one of those below")
    token: SecretStr | None = Field(None, description="bearer: the token")
    username: str = Field("", description="basic: the user")
    password: SecretStr | None = Field(None, description="basic: the password")
    key: SecretStr | None = Field(None, description="api_key: the key")
    header: HeaderName = Field("X-Api-Key", description="api_key: the header that takes the key")
    prefix: str = Field("", description="api_key: what stands before the key, such as `SSWS `")
    query_param: Name | None = Field(None, description="api_key: the query parameter that takes the key, not a header")
    token_url: str = Field("", description="oauth2_*, jwt_bearer: address that gives tokens")
    client_id: str = Field("", description="oauth2_*: the client")
    client_secret: SecretStr | None = Field(None, description="oauth2_*: its secret")
    client_auth: Literal["basic", "body", "assertion"] = Field(
        "basic", description="oauth2_*: the secret goes as basic login or in the body; assertion: a JWT by private_key"
    )
    scope: Words = Field((), description="oauth2_*, jwt_bearer: what is asked for")
    token_params: dict[Name, str] = Field(default_factory=dict, description="more fields of the token request")
    refresh_token: SecretStr | None = Field(None, description="oauth2_refresh_token: as `hive comb login` gives it")
    private_key: SecretStr | None = Field(None, description="jwt_bearer, assertion: private key, PEM, RSA or EC P-256")
    key_id: str = Field("", description="jwt_bearer, assertion: id of that key")
    issuer: str = Field("", description="jwt_bearer: who signs (iss)")
    subject: str = Field("", description="jwt_bearer: for whom (sub), the issuer if unset")
    audience: str = Field("", description="jwt_bearer, assertion: for which server (aud), token_url if unset")
    access_key: str = Field("", description="aws_sigv4: id of the access key")
    secret_key: SecretStr | None = Field(None, description="aws_sigv4: the secret access key")
    session_token: SecretStr | None = Field(None, description="aws_sigv4: of temporary credentials")
    region: str = Field("", description="aws_sigv4: region, such as eu-central-1")
    service: str = Field("", description="aws_sigv4: service, such as execute-api")
    renew_before: Seconds = Field(30.0, description="seconds before its end that a token is renewed")

    @model_validator(mode="before")
    @classmethod
    def _plain_oauth2(cls, data: Any) -> Any:
        """`oauth2` without saying which: with a refresh token it is that one's way, else the client's own."""
        if not isinstance(data, Mapping) or data.get("method") != "oauth2":
            return data
        method = "oauth2_refresh_token" if data.get("refresh_token") else "oauth2_client_credentials"
        return {**data, "method": method}

    @model_validator(mode="after")
    def _whole(self) -> Auth:
        if self.method == "none" and any(getattr(self, name) for name in _SECRETS):
            raise ValueError("a credential is given but no method: set method to bearer, basic, api_key or another one")
        missing = [name for name in _NEEDS[self.method] if not getattr(self, name)]
        if missing:
            raise ValueError(f"method {self.method} needs {' and '.join(missing)}")
        if self.method == "basic" and (not self.username or ":" in self.username):
            raise ValueError("method basic needs a username, without a colon")
        if self.client_auth == "assertion" and not self.private_key:
            raise ValueError("client_auth assertion needs private_key")
        if self.token_url:
            try:
                checked_url(self.token_url)
            except GiveUp as error:
                raise ValueError(f"token_url: {error}") from None
        return self

    def credentials(self, headers: Mapping[str, SecretStr]) -> Credentials:
        """What is sent and does not change; the operator's own headers go the same way, for they often hold a key."""
        sent = {name: value.get_secret_value() for name, value in headers.items()}
        params: dict[str, str] = {}
        option = "headers" if headers else "auth"
        if self.method == "bearer" and self.token:
            sent["Authorization"], option = f"Bearer {self.token.get_secret_value()}", "auth.token"
        elif self.method == "basic" and self.password:
            sent["Authorization"] = basic(self.username, self.password.get_secret_value())
            option = "auth.username and auth.password"
        elif self.method == "api_key" and self.key:
            target = params if self.query_param else sent
            target[self.query_param or self.header] = self.prefix + self.key.get_secret_value()
            option = "auth.key"
        return Credentials(sent, params, option)


class Tls(BeeOptions):
    """Certificates for connections to one source, in PEM."""

    certificate: str | None = Field(None, description="our certificate, with the chain to its authority")
    key: SecretStr | None = Field(None, description="the private key of our certificate")
    key_password: SecretStr | None = Field(None, description="the password of that key")
    authorities: str | None = Field(
        None, description="certificates that the server's must come from; the machine's if unset"
    )

    @model_validator(mode="after")
    def _whole(self) -> Tls:
        if bool(self.certificate) != bool(self.key):
            raise ValueError("our own certificate needs certificate and key")
        return self

    def context(self) -> ssl.SSLContext:
        """Raises GiveUp (`bad_certificate`) for what is no certificate or no key to it."""
        problem = ""
        made = ssl.create_default_context()
        try:
            if self.authorities:
                made = ssl.create_default_context(cadata=self.authorities)
            if self.certificate and self.key:
                password = self.key_password.get_secret_value() if self.key_password else ""
                with tempfile.TemporaryDirectory() as folder:  # the library reads files alone; this one is ours alone
                    both = Path(folder) / "pair.pem"
                    both.touch(0o600)
                    both.write_text(f"{self.certificate}\n{self.key.get_secret_value()}\n")
                    made.load_cert_chain(both, password=password)
        except (ssl.SSLError, ValueError, OSError):
            problem = "a certificate or its key cannot be used"
        if problem:
            advice = "give PEM text: certificate with its key, authorities"
            raise GiveUp(problem, code="bad_certificate", where="tls", advice=advice)
        return made
