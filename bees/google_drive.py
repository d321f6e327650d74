"""Files of Google Drive, of one's own or a shared drive: documents and tables.

Google's documents are exported: texts as Markdown, spreadsheets as CSV (the first sheet), slides as plain text. Files
of the same name in one folder, which Drive allows, carry their id in their path.

The interface itself is spoken, by the guarded client: Google's library for it dials what it likes.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from urllib.parse import quote, urlencode

from pydantic import Field, SecretStr

from bees.core.bee import BeeOptions, BeeType
from bees.core.errors import GiveUp, RetryLater
from bees.core.file_listing import SMALL
from bees.core.filebee import RemoteOptions
from bees.core.http import Answer, Credentials, HttpClient, Limits
from bees.core.storage import dial
from bees.core.storage.base import Entry, Gone, Listed, NotReadError, Storage, joined, rooted, safe_name, walk
from bees.core.storage.gated import GatedFileBee
from bees.core.storage.rounds import Rounds
from bees.core.storage.web import WebStorage

_FOLDER = "application/vnd.google-apps.folder"
_EXPORTS = {
    "application/vnd.google-apps.document": (".md", "text/markdown"),
    "application/vnd.google-apps.spreadsheet": (".csv", "text/csv"),
    "application/vnd.google-apps.presentation": (".txt", "text/plain"),
}
_FIELDS = "nextPageToken,incompleteSearch,files(id,name,mimeType,size,md5Checksum,modifiedTime)"
_SCOPE = "https://www.googleapis.com/auth/drive.readonly"
_JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_EARLY = 60.0
_UNSAFE = re.compile(r"[\0/]")


class DriveAuth(BeeOptions):
    """Who asks."""

    method: Literal["oauth2", "service_account"] = "oauth2"
    client_id: SecretStr = Field(SecretStr(""), description="of oauth2")
    client_secret: SecretStr = Field(SecretStr(""), description="of oauth2")
    refresh_token: SecretStr = Field(SecretStr(""), description="of oauth2: what the owner's consent gave")
    key: SecretStr = Field(SecretStr(""), description="of service_account: text of its JSON key")
    subject: str = Field("", description="of service_account: the user it acts for, where it may for a whole domain")


class GoogleDriveOptions(RemoteOptions):
    auth: DriveAuth
    drive: str = Field("", description="id of a shared drive; unset: the drive of who asks")
    endpoint: str = Field("https://www.googleapis.com", pattern=r"^https?://", description="the server's address")
    token_url: str = Field("https://oauth2.googleapis.com/token", pattern=r"^https?://", description="who gives tokens")


class GoogleDriveBee(GatedFileBee):
    bee_type: ClassVar[BeeType] = "file"
    Options: ClassVar[type[BeeOptions]] = GoogleDriveOptions

    def connect(self) -> Storage:
        return DriveStorage(self.options)

    def source_identity(self) -> str:
        given = self.options
        return f"google_drive:{given.endpoint}/{given.drive}/{given.path.strip('/')}"


@dataclass(frozen=True)
class _Ref:
    id: str
    export: str


class DriveStorage(WebStorage):
    for_all = True

    def __init__(self, options: GoogleDriveOptions) -> None:
        super().__init__(self._client, options.concurrency, options.timeout)
        self._options = options
        self._tokens = _Tokens(options)
        self._folders: dict[str, str] = {}

    def _client(self, limits: Limits) -> HttpClient:
        given = self._options
        held = Credentials({"Authorization": f"Bearer {self._tokens.get()}"})
        return HttpClient(given.endpoint, credentials=held, allow_private=given.allow_private, limits=limits)

    def check(self) -> None:
        self._folders = {}
        rooted(self._list)

    def entries(self, after: bytes, *, recursive: bool) -> Iterator[Listed]:
        self._folders = {}
        return walk(self._list, after, recursive=recursive)

    def read(self, entry: Entry, start: int, size: int) -> bytes:
        at = f"{self._options.endpoint}/drive/v3/files/{quote(entry.ref.id, safe='')}"
        url = f"{at}/export?{urlencode({'mimeType': entry.ref.export})}" if entry.ref.export else f"{at}?alt=media"
        return self.part(url if entry.ref.export else f"{url}&supportsAllDrives=true", entry, start, size)

    def same(self, entry: Entry) -> bool:
        """One answer is of one version; of a large file, which comes in several, it is asked for."""
        if entry.size <= SMALL:
            return True
        fields = "id,name,mimeType,size,md5Checksum,modifiedTime"
        asked = urlencode({"fields": fields, "supportsAllDrives": "true"})
        try:
            url = f"{self._options.endpoint}/drive/v3/files/{quote(entry.ref.id, safe='')}?{asked}"
            now = _entry(entry.path, _object(self.ask("GET", url).body))
        except (NotReadError, KeyError):
            return False
        return now is not None and now.version == entry.version

    def look(self, path: str) -> Entry | None:
        folder = path.rpartition("/")[0]
        try:
            return next((entry for entry in self._list(folder)[0] if entry.path == path), None)
        except Gone:
            return None

    def ask(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> Answer:
        """With a token that still holds; one that was refused is renewed once, in the middle of a listing too."""
        self._renewed()
        try:
            return super().ask(method, url, headers, content)
        except GiveUp as error:
            if "status 401" not in str(error):
                raise
        self._tokens.drop(self._made.get(threading.get_ident(), ""))
        self._renewed()
        return super().ask(method, url, headers, content)

    def _renewed(self) -> None:
        """Make this thread's client anew if its token is no longer the one that holds."""
        me, token = threading.get_ident(), self._tokens.get()
        if self._made.get(me) != token:
            old = self._clients.pop(me, None)
            if old is not None:
                old.close()
            self._made[me] = token

    @property
    def _made(self) -> dict[int, str]:
        made: dict[int, str] = self.__dict__.setdefault("_tokens_by_thread", {})
        return made

    def _list(self, path: str) -> tuple[list[Entry], list[str]]:
        # One that is moved in the list meanwhile comes on two of its pages.
        found = list({item["id"]: item for item in self._children(self._id(path))}.values())
        names = [_name(item) for item in found]
        several = {name for name, count in Counter(names).items() if count > 1}
        files, folders = [], []
        for item, plain in zip(found, names, strict=True):
            stem, dot, end = plain.rpartition(".")
            name = plain
            if plain in several:
                name = f"{stem}~{item['id']}.{end}" if dot and stem else f"{plain}~{item['id']}"
            if not safe_name(name):  # a name there may be anything, `..` too
                name = f"{_UNSAFE.sub('_', plain)}~{item['id']}"
            inner = joined(path, name)
            if item["mimeType"] == _FOLDER:
                self._folders[inner] = item["id"]
                folders.append(inner)
            elif entry := _entry(inner, item):
                files.append(entry)
        return files, folders

    def _id(self, path: str) -> str:
        """The folder's id; those of the root's path are looked up, those below were listed."""
        if "" not in self._folders:
            at = self._options.drive or "root"
            for name in (part for part in self._options.path.split("/") if part):
                inner = [item for item in self._children(at, name) if item["mimeType"] == _FOLDER]
                if not inner:
                    raise Gone
                at = inner[0]["id"]
            self._folders[""] = at
        if path not in self._folders:
            self._list(path.rpartition("/")[0])
        if path not in self._folders:
            raise Gone
        return self._folders[path]

    def _children(self, folder: str, name: str = "") -> Iterator[dict[str, Any]]:
        wanted = f"'{_quoted(folder)}' in parents and trashed = false" + (
            f" and name = '{_quoted(name)}'" if name else ""
        )
        asked = {"q": wanted, "fields": _FIELDS, "pageSize": "1000", "orderBy": "name"}
        asked |= {"supportsAllDrives": "true", "includeItemsFromAllDrives": "true"}
        if self._options.drive:
            asked |= {"corpora": "drive", "driveId": self._options.drive}
        rounds = Rounds("path")
        while True:
            page = _object(self.ask("GET", f"{self._options.endpoint}/drive/v3/files?{urlencode(asked)}").body)
            files = page.get("files")
            if not isinstance(files, list):
                raise _no_drive()
            for item in files:
                if (
                    isinstance(item, dict)
                    and {"id", "name", "mimeType"} <= item.keys()
                    and (not name or item["name"] == name)
                ):
                    yield item
            if page.get("incompleteSearch"):
                raise RetryLater("Drive did not look into all of the folder", code="bad_listing", where="path")
            token = page.get("nextPageToken")
            if not token:
                return
            rounds.on(token)
            asked["pageToken"] = token


class _Tokens:
    """The access token, shared by all threads; got anew before it ends."""

    def __init__(self, options: GoogleDriveOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._token, self._ends = "", 0.0

    def get(self) -> str:
        with self._lock:
            if time.monotonic() >= self._ends:
                self._token, seconds = self._asked()
                self._ends = time.monotonic() + max(seconds - _EARLY, 1.0)
            return self._token

    def drop(self, token: str) -> None:
        """It was refused, if it is still the one that is held."""
        with self._lock:
            if token == self._token:
                self._ends = 0.0

    def _asked(self) -> tuple[str, float]:
        given = self._options
        form = _signed(given) if given.auth.method == "service_account" else _refreshing(given.auth)
        client = HttpClient(given.token_url, allow_private=given.allow_private, credentials=Credentials())
        problem: GiveUp
        try:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = client.request(
                "POST", given.token_url, where="auth", headers=headers, content=urlencode(form).encode()
            )
            told = _object(answer.body)
            return str(told["access_token"]), float(told.get("expires_in") or 3600)
        except GiveUp as error:
            problem = dial.denied() if error.code in {"unexpected_status", "denied"} else error
        except (KeyError, TypeError, ValueError):
            problem = dial.denied()
        finally:
            client.close()
        raise problem


def _refreshing(auth: DriveAuth) -> dict[str, str]:
    form = {
        "client_id": auth.client_id.get_secret_value(), "client_secret": auth.client_secret.get_secret_value(),
        "refresh_token": auth.refresh_token.get_secret_value(),
    }  # fmt: skip
    missing = next((name for name, value in form.items() if not value), "")
    if missing:
        advice = f"give `auth.{missing}`: Google tells it when the owner consents to the scope drive.readonly"
        raise GiveUp("the credentials are missing", code="no_credentials", where=f"auth.{missing}", advice=advice)
    return {**form, "grant_type": "refresh_token"}


def _signed(given: GoogleDriveOptions) -> dict[str, str]:
    """The service account's own word (RFC 7523), signed with its key."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    try:
        told = json.loads(given.auth.key.get_secret_value())
        key = serialization.load_pem_private_key(told["private_key"].encode(), None)
        now = int(time.time())
        claims = {"iss": told["client_email"], "scope": _SCOPE, "aud": given.token_url, "iat": now, "exp": now + 3600}
    except (ValueError, KeyError, TypeError, AttributeError):
        key, claims = None, {}
    if not isinstance(key, rsa.RSAPrivateKey):
        advice = "give the text of a service account's JSON key as `auth.key`"
        raise GiveUp("the key cannot be read", code="bad_key", where="auth.key", advice=advice)
    if given.auth.subject:
        claims["sub"] = given.auth.subject
    parts = [_base64(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
    signature = key.sign(".".join(parts).encode(), padding.PKCS1v15(), hashes.SHA256())
    return {"grant_type": _JWT, "assertion": ".".join([*parts, _base64(signature)])}


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _no_drive()
    return found


def _no_drive() -> GiveUp:
    message = "the server does not answer as Google Drive"
    return GiveUp(message, code="no_drive", where="endpoint", advice="correct it")


def _name(item: Mapping[str, Any]) -> str:
    """A slash is no part of a path there, and would be one here. Half a pair of surrogates is no text anywhere."""
    end = _EXPORTS.get(item["mimeType"], ("", ""))[0]
    return re.sub("[\ud800-\udfff]", "\ufffd", str(item["name"])).replace("/", "_") + end


def _entry(path: str, item: Mapping[str, Any]) -> Entry | None:
    """None for what has no content of its own: shortcuts, forms, maps."""
    kind = item["mimeType"]
    if kind.startswith("application/vnd.google-apps.") and kind not in _EXPORTS:
        return None
    try:
        at = dt.datetime.fromisoformat(str(item.get("modifiedTime")))
        modified = int(at.timestamp() * 1_000_000)
    except ValueError:
        modified = None
    size = int(item.get("size") or -1) if kind not in _EXPORTS else -1
    if str(item.get("size")) == "0":
        size = 0
    version = str(item.get("md5Checksum") or f"{item.get('modifiedTime')} {size}")
    stamp = None if modified is not None else 2**63
    return Entry(path, size, version, modified, stamp, _Ref(item["id"], _EXPORTS.get(kind, ("", ""))[1]))
