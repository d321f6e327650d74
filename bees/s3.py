"""Objects of an S3 bucket, of Amazon or of any server that speaks the protocol: documents and tables.

A version is an ETag: a second flight over an unchanged bucket lists it and reads no content. Reads ask for the listed
ETag, or for the one that all answers tell in its place, so a file is never put together of two versions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from bees.core.bee import BeeOptions, BeeType, Name
from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.filebee import RemoteOptions
from bees.core.storage import dial
from bees.core.storage.base import (
    Changed,
    Entry,
    Gone,
    Listed,
    NotReadError,
    Storage,
    Unreadable,
    no_parts,
    refused,
)
from bees.core.storage.gated import GatedFileBee
from bees.core.storage.rounds import Rounds
from bees.core.storage.versions import Part, Versions

_BUSY = {
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "TooManyRequests",
    "ServiceUnavailable",
}
_KEYS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"}
_LISTING = {"Name", "Prefix", "KeyCount", "MaxKeys", "IsTruncated", "Contents"}
"""What a page of a listing tells; of another page in its place botocore reads none of them."""
_ARCHIVED = "the object is archived (Glacier): restore it, or leave it out by `patterns`"


class S3Auth(BeeOptions):
    """Who asks."""

    method: Literal["keys", "anonymous", "ambient"] = Field(
        "keys", description="ambient: environment, profile or instance role of the worker, as boto3 finds them"
    )
    access_key_id: SecretStr = Field(SecretStr(""), description="with `secret_access_key`")
    secret_access_key: SecretStr = Field(SecretStr(""))
    session_token: SecretStr = Field(SecretStr(""), description="of temporary credentials")


class S3Options(RemoteOptions):
    bucket: Name = Field(description="the bucket; `path` is the folder in it")
    endpoint: str = Field("", pattern=r"^$|^https?://", description="of a server that is not Amazon's")
    region: str = Field("us-east-1", description="the bucket's region")
    path_style: bool = Field(False, description="the bucket's name in the path, not in the host; true with `endpoint`")
    auth: S3Auth = Field(S3Auth(method="ambient"), description="keys, anonymous, or ambient where it is unset")


class S3Bee(GatedFileBee):
    bee_type: ClassVar[BeeType] = "file"
    Options: ClassVar[type[BeeOptions]] = S3Options

    def connect(self) -> Storage:
        return S3Storage(self.options)

    def source_identity(self) -> str:
        given = self.options
        return f"s3:{given.endpoint}/{given.bucket}/{given.path.strip('/')}"


class S3Storage(Storage):
    def __init__(self, options: S3Options) -> None:
        super().__init__(options.concurrency)
        self._bucket = options.bucket
        inside = options.path.strip("/")
        self._prefix = f"{inside}/" if inside else ""
        self._client = _client(options, self)
        self._versions = Versions()

    def check(self) -> None:
        self._ask(lambda: self._page(b"", "/", ""))

    def is_there(self) -> bool:
        return bool(self._ask(lambda: self._page(b"", "", "")).get("Contents"))

    def entries(self, after: bytes, *, recursive: bool) -> Iterator[Listed]:
        start, token, rounds = after.decode("utf-8", "surrogateescape"), "", Rounds("path")
        while True:
            page = self._ask(lambda at=token, begin=start: self._page(begin.encode(), "" if recursive else "/", at))
            if not page.keys() & _LISTING:
                advice = "correct `endpoint`; it may be that a proxy or the network answers in its place"
                raise GiveUp("the server does not answer as S3", code="no_s3", where="endpoint", advice=advice)
            for item in page.get("Contents", ()):
                key = item["Key"]
                path = key[len(self._prefix) :]
                if path and not path.endswith("/"):
                    modified = int(item["LastModified"].timestamp() * 1_000_000)
                    etag = item["ETag"]
                    entry = Entry(path, item["Size"], f"{etag} {item['Size']}", modified, ref=(key, etag))
                    if entry.key > after:  # some servers know nothing of `start-after`
                        yield entry
            if not page.get("IsTruncated"):
                return
            token = page.get("NextContinuationToken", "")
            # Some servers that are like S3 tell none: on from the last key.
            on = token or (path if page.get("Contents") and recursive else "")
            if not on:
                message = "more keys follow, and the server does not say where to go on"
                raise RetryLater(message, code="bad_listing", where="path")
            rounds.on(on)
            start = start if token else on

    def _page(self, after: bytes, delimiter: str, token: str) -> Any:
        asked: dict[str, Any] = {"Bucket": self._bucket, "Prefix": self._prefix}
        if delimiter:
            asked["Delimiter"] = delimiter
        if token:
            asked["ContinuationToken"] = token
        elif after:
            asked["StartAfter"] = self._prefix + after.decode()
        return self._client.list_objects_v2(**asked)

    def read(self, entry: Entry, start: int, size: int) -> bytes:
        whole = not start and size >= entry.size

        def get(etag: str) -> Part:
            part: Part = self._ask(lambda: self._part(entry, start, size, etag, whole=whole), of_file=True)
            return part

        return self._versions.read(entry, entry.ref[1], get, whole=whole).data

    def _part(self, entry: Entry, start: int, size: int, etag: str, *, whole: bool) -> Part:
        from urllib3.exceptions import HTTPError

        asked = {"Bucket": self._bucket, "Key": entry.ref[0]}
        if etag:
            asked["IfMatch"] = etag
        if not whole:
            asked["Range"] = f"bytes={start}-{start + size - 1}"
        answer = self._client.get_object(**asked)
        body = answer["Body"]
        try:
            begins, _, total = answer.get("ContentRange", "").removeprefix("bytes ").partition("/")
            if not whole and not begins.startswith(f"{start}-"):
                raise no_parts()
            data = bytes(body.read(size + 1))  # no more than one above, whatever the server sends
        except HTTPError:  # of what breaks within a body botocore knows some only
            raise dial.lost("endpoint") from None
        finally:
            body.close()
        if whole and len(data) > size:
            raise Changed
        all_of_it = answer.get("ContentLength", -1) if whole else int(total) if total.isdecimal() else -1
        return Part(data[:size], answer.get("ETag", ""), all_of_it)

    def look(self, path: str) -> Entry | None:
        try:
            found = self._ask(
                lambda: self._client.head_object(Bucket=self._bucket, Key=self._prefix + path), of_file=True
            )
        except Gone:
            return None
        return Entry(path, found["ContentLength"], f"{found['ETag']} {found['ContentLength']}")

    def _ask(self, request: Any, *, of_file: bool = False) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        problem: Exception
        try:
            return request()
        except ClientError as error:
            problem = _verdict(error, of_file=of_file)
        except RecursionError:  # botocore asks where the bucket is, and that is redirected as well
            problem = refused(0, "redirected") if of_file else dial.redirected()
        except ResponseParserError:
            problem = RetryLater("the server's answer cannot be read", code="bad_answer", where="endpoint")
        except (BotoCoreError, OSError) as error:
            problem = dial.cause(error) or _lost(error)
        raise problem

    def close(self) -> None:
        super().close()
        self._client.close()


def _verdict(error: Any, *, of_file: bool) -> SourceError | NotReadError:
    code, meta = str(error.response.get("Error", {}).get("Code", "")), error.response.get("ResponseMetadata", {})
    status = meta.get("HTTPStatusCode", 0)
    if code in _BUSY or status in (429, 503):
        return dial.busy("bucket", meta.get("HTTPHeaders"))
    if status >= 500 or code in {"RequestTimeout", "InternalError"}:
        return RetryLater("the server failed", code="server_error", where="bucket")
    if code in _KEYS or status == 401:
        return dial.denied()
    if code == "InvalidObjectState":
        return Unreadable("archived", _ARCHIVED)
    if code == "RequestTimeTooSkewed":
        return GiveUp(
            "this machine's clock and the server's are too far apart", code="clock_skew", where="endpoint",
            advice="set the clock of this machine, or of the server",
        )  # fmt: skip
    if of_file and status in (404, 412, 416):
        return Changed() if status == 412 else Gone()
    if of_file:
        return Unreadable() if status == 403 else refused(status)
    if status == 404:
        return GiveUp("the bucket is not there", code="no_folder", where="bucket", advice="correct `bucket`")
    if status in (301, 307, 400):
        advice = "check `region`, `endpoint` and `auth`"
        return GiveUp("the server refuses the request", code="bad_request", where="bucket", advice=advice)
    return dial.redirected() if status in (302, 303, 308) else dial.denied()


def _lost(error: Exception) -> SourceError:
    name = type(error).__name__
    if name in {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError"}:
        advice = "give `auth`, or the worker a role"
        return GiveUp("there are no credentials", code="no_credentials", where="auth", advice=advice)
    if name == "SSLError":
        advice = "install a certificate that this machine trusts, or correct `endpoint`"
        return GiveUp(
            "the server's certificate is not trusted", code="bad_certificate", where="endpoint", advice=advice
        )
    if "Timeout" in name:
        return RetryLater("the server does not answer in time", code="timeout", where="endpoint")
    if name in {"EndpointConnectionError", "ConnectionError"}:
        return dial.unreachable("endpoint")
    return dial.lost("endpoint")


def _client(options: S3Options, storage: Storage) -> Any:
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    auth, keys = options.auth, {}
    if auth.method == "keys":
        secrets = (auth.access_key_id, auth.secret_access_key, auth.session_token)
        names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        keys = {name: secret.get_secret_value() or None for name, secret in zip(names, secrets, strict=True)}
        if not keys[names[0]] or not keys[names[1]]:
            advice = "give `access_key_id` and `secret_access_key`, or `method: anonymous`"
            raise GiveUp("the keys are missing", code="no_credentials", where="auth", advice=advice)
    config = Config(
        connect_timeout=min(options.timeout, 10), read_timeout=options.timeout, proxies={},
        retries={"mode": "standard", "total_max_attempts": 4}, max_pool_connections=options.concurrency + 2,
        s3={"addressing_style": "path" if options.path_style or options.endpoint else "auto"},
        **({"signature_version": UNSIGNED} if auth.method == "anonymous" else {}),
    )  # fmt: skip
    client = boto3.session.Session().client(
        "s3", region_name=options.region, endpoint_url=options.endpoint or None, config=config, **keys
    )
    to = urlsplit(client.meta.endpoint_url)
    port = to.port or (80 if to.scheme == "http" else 443)
    policy = dial.policy_for(to.scheme, to.hostname or "", port, allow_private=options.allow_private)
    # The one place of botocore where connections are made; it has no public name.
    http = client._endpoint.http_session  # noqa: SLF001
    base = http._pool_classes_by_scheme  # noqa: SLF001
    http._pool_classes_by_scheme = dial.pool_classes(policy, base, "endpoint", storage)  # noqa: SLF001
    http._manager.pool_classes_by_scheme = http._pool_classes_by_scheme  # noqa: SLF001
    return client
