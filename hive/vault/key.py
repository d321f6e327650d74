"""The hive key: 32 bytes that wrap every other key. Lost, no sealed thing opens again; so it is never made twice."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hive.vault.envelope import KEY_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from hive.settings import Settings


class MissingHiveKey(RuntimeError):
    """No hive key was given where none may be made up."""


class KeyFileRefused(RuntimeError):
    """There is a hive key, but it is not 32 bytes, or others may read its file."""


@dataclass(frozen=True)
class HiveKey:
    key_id: str
    """Names the key in stored rows and messages; tells nothing about it."""
    key: bytes = field(repr=False)

    @classmethod
    def of(cls, key: bytes) -> HiveKey:
        return cls(hashlib.sha256(b"worker bees hive key id|" + key).hexdigest()[:8], key)


def hive_key(settings: Settings) -> HiveKey:
    """The key of this hive: HIVE_KEY, else the file HIVE_KEY_FILE, else `<data>/hive.key`.

    Only the last is made when it is missing, and only for a hive with its own embedded database: an external database
    may hold what another key sealed. Processes that start at once get the same key.
    """
    if settings.key is not None:
        return HiveKey.of(_decode(settings.key.get_secret_value(), "HIVE_KEY"))
    path = settings.key_path
    try:
        return _read(path)
    except FileNotFoundError as error:
        if settings.key_file is not None:
            raise MissingHiveKey(f"HIVE_KEY_FILE names {path}, and there is no such file") from error
        if settings.database_url is not None:
            raise MissingHiveKey(
                "the database is external (HIVE_DATABASE_URL), so the hive key must be given: set HIVE_KEY to 32 bytes "
                f"as base64 or hex, or HIVE_KEY_FILE to a file that holds them, or put that file at {path}"
            ) from error
    _make(path)
    return _read(path)


def _read(path: Path) -> HiveKey:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        _check_mode(path, os.fstat(descriptor))
        return HiveKey.of(_decode(file.read(1024).decode("ascii", errors="replace"), str(path)))


def _check_mode(path: Path, found: os.stat_result) -> None:
    # A file of another owner (a mounted secret of Kubernetes: root's, readable by our group) can only be reached
    # through the group; our own needs no reader but us.
    refused = 0o077 if found.st_uid == os.geteuid() else 0o037
    if stat.S_IMODE(found.st_mode) & refused:
        raise KeyFileRefused(f"the hive key in {path} is open to other users: run `chmod 600 {path}`")


def _decode(text: str, where: str) -> bytes:
    text = text.strip()
    try:
        if len(text) == 2 * KEY_BYTES:
            key = bytes.fromhex(text)
        else:
            key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (ValueError, binascii.Error):
        # Nothing of the text may reach the message or its cause.
        raise KeyFileRefused(f"the hive key in {where} is neither base64 nor hex: it must be 32 bytes") from None
    if len(key) != KEY_BYTES:
        raise KeyFileRefused(f"the hive key in {where} has {len(key)} bytes: it must have {KEY_BYTES}")
    return key


def _make(path: Path) -> None:
    """Put a new key at `path` unless there is one. The file appears whole: written aside, then linked."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(aside, path)
        except FileExistsError:
            return  # another process was first: its key is the key
        _sync_folder(path.parent)
    finally:
        aside.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
