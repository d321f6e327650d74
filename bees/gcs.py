"""Objects of a Google Cloud Storage bucket: documents and tables.

A version is the object's checksum: a second flight over an unchanged bucket lists it and reads no content. Reads ask
for the listed generation, so a file is never put together of two versions.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from bees.core.bee import BeeOptions, BeeType, Name
from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.filebee import RemoteOptions
from bees.core.storage import dial
from bees.core.storage.base import Entry, Gone, Listed, NotReadError, Storage, Unreadable, no_parts, refused
from bees.core.storage.gated import GatedFileBee
from bees.core.storage.rounds import Rounds

T = TypeVar("T")
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_only"
_FIELDS = "kind,items(name,size,generation,updated,md5Hash,crc32c),nextPageToken"
_PAGE = 1000
_BROKEN = {"ChunkedEncodingError", "ProtocolError", "IncompleteRead", "ConnectionResetError", "RemoteDisconnected"}
"""Errors, also within others, of an answer that broke off."""


class GcsAuth(BeeOptions):
    """Who asks."""

    method: Literal["service_account", "anonymous"] = "service_account"
    key: SecretStr = Field(SecretStr(""), description="text of the service account's JSON key")


class GcsOptions(RemoteOptions):
    bucket: Name = Field(description="the bucket; `path` is the folder in it")
    auth: GcsAuth = Field(GcsAuth(), description="a service account's key, or anonymous for a public bucket")
    endpoint: str = Field("https://storage.googleapis.com", pattern=r"^https?://", description="the server's address")


class GcsBee(GatedFileBee):
    bee_type: ClassVar[BeeType] = "file"
    Options: ClassVar[type[BeeOptions]] = GcsOptions
    extra = "gcs"

    def connect(self) -> Storage:
        return GcsStorage(self.options)

    def source_identity(self) -> str:
        given = self.options
        return f"gcs:{given.endpoint}/{given.bucket}/{given.path.strip('/')}"


class GcsStorage(Storage):
    def __init__(self, options: GcsOptions) -> None:
        super().__init__(options.concurrency)
        inside = options.path.strip("/")
        self._prefix = f"{inside}/" if inside else ""
        self._timeout = options.timeout
        self._client = _client(options, self)
        self._retry = _retry(options.timeout)
        self._bucket = self._client.bucket(options.bucket)

    def check(self) -> None:
        self.is_there()

    def is_there(self) -> bool:
        return self._ask(lambda: next(iter(self._listing("", recursive=True, most=1)), None), "") is not None

    def entries(self, after: bytes, *, recursive: bool) -> Iterator[Listed]:
        start = self._prefix + after.decode("utf-8", "surrogateescape") if after else ""
        found = self._ask(lambda: self._listing(start, recursive=recursive), "")
        while (blob := self._ask(lambda: next(found, None), "")) is not None:
            path = blob.name[len(self._prefix) :]
            entry = _entry(path, blob)
            if path and not path.endswith("/") and entry.key > after:
                yield entry

    def _listing(self, start: str, *, recursive: bool, most: int | None = None) -> Iterator[Any]:
        found = self._client.list_blobs(
            self._bucket, prefix=self._prefix or None, start_offset=start or None, fields=_FIELDS, max_results=most,
            delimiter=None if recursive else "/", page_size=_PAGE, timeout=self._timeout, retry=self._retry,
        )  # fmt: skip
        rounds = Rounds("bucket")
        for page in found.pages:
            if page.raw_page.get("kind") != "storage#objects":
                raise GiveUp(
                    "the server does not answer as Google Cloud Storage", code="no_gcs", where="endpoint",
                    advice="correct `endpoint`; it may be that a proxy or the network answers in its place",
                )  # fmt: skip
            yield from page
            rounds.on(found.next_page_token)

    def read(self, entry: Entry, start: int, size: int) -> bytes:
        if not size:
            return b""
        blob = self._bucket.blob(self._prefix + entry.path)
        asked: dict[str, Any] = {
            "if_generation_match": entry.ref,
            "timeout": self._timeout,
            "raw_download": True,
            "retry": self._retry,
        }
        if start or size < entry.size:
            asked |= {"start": start, "end": start + size - 1}
        taken = _Bounded(size)
        self._ask(lambda: blob.download_to_file(taken, **asked), entry.path)
        return taken.getvalue()

    def look(self, path: str) -> Entry | None:
        blob = self._ask(
            lambda: self._bucket.get_blob(self._prefix + path, timeout=self._timeout, retry=self._retry), path
        )
        return None if blob is None else _entry(path, blob)

    def _ask(self, request: Callable[[], T], path: str) -> T:
        from google.api_core.exceptions import GoogleAPICallError, RetryError
        from google.auth.exceptions import GoogleAuthError
        from google.cloud.storage.exceptions import InvalidResponse
        from requests.exceptions import RequestException, TooManyRedirects
        from urllib3.exceptions import HTTPError

        problem: Exception
        try:
            return request()
        except (SourceError, NotReadError):
            raise
        except RetryError as error:  # of the library's own tries: its cause is what the last of them was told
            told = error.cause
            answered = isinstance(told, (GoogleAPICallError, InvalidResponse))
            problem = dial.cause(error) or (_called(told, of_file=bool(path)) if answered else _lost(told or error))
        except (GoogleAPICallError, InvalidResponse) as error:
            problem = _called(error, of_file=bool(path))
        except TooManyRedirects:
            problem = refused(0, "redirected") if path else dial.redirected()
        except GoogleAuthError as error:
            problem = dial.cause(error) or dial.denied()
        except (RequestException, HTTPError, OSError) as error:
            problem = dial.cause(error) or _lost(error)
        except Exception as error:  # noqa: BLE001 - the library wraps a retry's last failure in errors of its own
            problem = dial.cause(error) or RetryLater("the server failed", code="server_error", where="endpoint")
        raise problem

    def close(self) -> None:
        super().close()
        self._client.close()


class _Bounded(io.BytesIO):
    """Takes what was asked for. The library goes on behind what it has when an answer breaks off, and counts nothing:
    a server that sends no parts begins again then, or sends all of a large file.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self._size:
            raise no_parts()
        return super().write(data)


def _entry(path: str, blob: Any) -> Entry:
    modified = int(blob.updated.timestamp() * 1_000_000) if blob.updated else None
    version = blob.md5_hash or blob.crc32c or blob.generation
    return Entry(path, int(blob.size), f"{version} {blob.size}", modified, ref=int(blob.generation))


def _called(error: Any, *, of_file: bool) -> SourceError | NotReadError:
    status = int(getattr(error, "code", 0) or getattr(error.response, "status_code", 0))
    if status in {429, 503}:
        return dial.busy("bucket", getattr(error.response, "headers", None))
    return _verdict(status, of_file=of_file)


def _verdict(status: int, *, of_file: bool) -> SourceError | NotReadError:
    if status >= 500 or status == 408:
        return RetryLater("the server failed", code="server_error", where="bucket")
    if status == 401:
        return dial.denied()
    if of_file and status in (404, 412, 416):
        return Gone()
    if of_file:  # such as one that is encrypted with a key of its owner
        return Unreadable() if status == 403 else refused(status)
    if status == 404:
        return GiveUp("the bucket is not there", code="no_folder", where="bucket", advice="correct `bucket`")
    return dial.denied()


def _lost(error: Exception) -> SourceError:
    name = type(error).__name__
    if "JSON" in name:
        return RetryLater("the server's answer cannot be read", code="bad_answer", where="endpoint")
    if name == "SSLError":
        advice = "install a certificate that this machine trusts, or correct `endpoint`"
        return GiveUp(
            "the server's certificate is not trusted", code="bad_certificate", where="endpoint", advice=advice
        )
    if "Timeout" in name:
        return RetryLater("the server does not answer in time", code="timeout", where="endpoint")
    broken = _BROKEN.intersection(type(one).__name__ for one in (error, *error.args))
    return dial.lost("endpoint") if broken else dial.unreachable("endpoint")


def _retry(seconds: float) -> Any:
    """Short: what fails longer than one request may take is tried again by a later leg."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(seconds)


def _client(options: GcsOptions, adapter_of: Storage) -> Any:
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials
    from google.auth.transport.requests import AuthorizedSession, Request
    from google.cloud import storage

    to = urlsplit(options.endpoint)
    port = to.port or (80 if to.scheme == "http" else 443)
    policy = dial.policy_for(to.scheme, to.hostname or "", port, allow_private=options.allow_private)
    plain = dial.session(policy, "endpoint", options.concurrency + 2, adapter_of)
    plain.max_redirects = 0
    where = ClientOptions(api_endpoint=options.endpoint)
    if options.auth.method == "anonymous":
        return storage.Client("none", AnonymousCredentials(), _http=plain, client_options=where)
    made = _credentials(options.auth.key.get_secret_value())
    session = AuthorizedSession(made, auth_request=Request(plain))
    session.trust_env = False
    session.max_redirects = 0
    session.hooks = plain.hooks
    for scheme, adapter in plain.adapters.items():
        session.mount(scheme, adapter)
    return storage.Client(made.project_id or "none", made, _http=session, client_options=where)


def _credentials(key: str) -> Any:
    from google.oauth2.service_account import Credentials

    try:
        return Credentials.from_service_account_info(json.loads(key), scopes=[_SCOPE])
    except (ValueError, AttributeError, TypeError):
        advice = "give the text of a service account's JSON key as `key`, or `method: anonymous`"
    raise GiveUp("the key cannot be read", code="bad_key", where="auth.key", advice=advice)
