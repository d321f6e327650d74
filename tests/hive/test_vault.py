"""Keys, envelopes, the store of secrets and the keyring."""

# ruff: noqa: F811 - fixtures are imported, then asked for by name

from __future__ import annotations

import base64
import multiprocessing
import re
import secrets
import stat
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from hive.ledger.db import make_engine
from hive.ledger.tables import vault_secret
from hive.settings import Settings
from hive.vault import (
    BadSecret,
    HiveKey,
    KeyFileRefused,
    Keyring,
    MissingHiveKey,
    MissingSecret,
    Unsealable,
    Vault,
    hive_key,
    keyring,
)
from hive.vault.envelope import new_data_key, open_, seal, unwrap, wrap
from tests.servers import database_url, migrated_template, postgres, servers_folder  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nectar.keys import PseudonymKeys
KEY = HiveKey.of(bytes(range(32)))
CANARY = "canary-8f2b1c"


@pytest.fixture(autouse=True)
def _no_keys_from_outside(monkeypatch):
    for name in ("HIVE_KEY", "HIVE_KEY_FILE", "HIVE_DATABASE_URL", "HIVE_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def vault(engine):
    return Vault(engine, KEY)


class TestHiveKey:
    @pytest.mark.parametrize("text", [KEY.key.hex(), base64.b64encode(KEY.key).decode(), f" {KEY.key.hex()}\n"])
    def test_is_read_from_the_environment_as_hex_or_base64(self, tmp_path, text):
        assert hive_key(Settings(data_dir=tmp_path, key=text)) == KEY

    def test_is_made_once_and_only_its_owner_may_read_it(self, tmp_path):
        settings = Settings(data_dir=tmp_path / "data")

        first = hive_key(settings)

        assert hive_key(settings) == first
        assert stat.S_IMODE(settings.key_path.stat().st_mode) == 0o600
        assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700
        assert [file.name for file in settings.data_dir.iterdir()] == ["hive.key"]

    def test_processes_that_start_at_once_get_the_same_key(self, tmp_path):
        with multiprocessing.get_context("spawn").Pool(4) as pool:
            found = pool.map(_key_id, [str(tmp_path)] * 16, chunksize=1)

        assert len(set(found)) == 1

    def test_an_external_database_needs_a_given_key(self, tmp_path):
        settings = Settings(data_dir=tmp_path, database_url="postgresql://db.example/hive")

        with pytest.raises(MissingHiveKey, match="set HIVE_KEY"):
            hive_key(settings)

        assert not settings.key_path.exists()

    def test_a_named_file_is_never_made_up(self, tmp_path):
        with pytest.raises(MissingHiveKey, match="HIVE_KEY_FILE"):
            hive_key(Settings(data_dir=tmp_path, key_file=tmp_path / "mounted" / "key"))

    def test_a_file_that_others_may_read_is_refused_with_the_command_that_mends_it(self, tmp_path):
        file = tmp_path / "key"
        file.write_text(KEY.key.hex())
        file.chmod(0o644)

        with pytest.raises(KeyFileRefused, match=f"chmod 600 {file}"):
            hive_key(Settings(data_dir=tmp_path, key_file=file))

    @pytest.mark.parametrize("text", ["abcd", "not base64!", KEY.key.hex()[:-2], CANARY])
    def test_of_another_length_is_refused_without_being_shown(self, tmp_path, text):
        with pytest.raises(KeyFileRefused) as caught:
            hive_key(Settings(data_dir=tmp_path, key=text))

        assert text not in "".join(traceback.format_exception(caught.value))

    def test_neither_repr_nor_id_reveals_it(self):
        assert "key=" not in repr(KEY)
        assert len(KEY.key_id) == 8
        assert KEY.key_id not in KEY.key.hex()


def _key_id(folder: str) -> str:
    return hive_key(Settings(data_dir=Path(folder))).key_id


class TestEnvelope:
    def test_what_is_sealed_opens_in_its_own_place_only(self):
        key = new_data_key()
        sealed = seal(key, b"honey", b"here")

        assert open_(key, sealed, b"here") == b"honey"
        assert b"honey" not in sealed
        for wrong_key, wrong_bytes, wrong_place in (
            (new_data_key(), sealed, b"here"),
            (key, sealed[:-1] + bytes([sealed[-1] ^ 1]), b"here"),
            (key, sealed, b"there"),
        ):
            with pytest.raises(Unsealable) as caught:
                open_(wrong_key, wrong_bytes, wrong_place)
            assert caught.value.code == "wrong_seal"

    def test_sealing_twice_gives_two_texts(self):
        key = new_data_key()

        assert seal(key, b"x", b"") != seal(key, b"x", b"")

    def test_what_is_too_short_is_no_envelope(self):
        with pytest.raises(Unsealable) as caught:
            open_(new_data_key(), b"short", b"")

        assert caught.value.code == "not_sealed"

    def test_a_wrapped_key_is_no_sealed_value(self):
        key, data_key = new_data_key(), new_data_key()
        wrapped = wrap(key, data_key, b"a")

        assert unwrap(key, wrapped, b"a") == data_key
        with pytest.raises(Unsealable):
            open_(key, wrapped, b"a")


class TestVault:
    @pytest.mark.parametrize("value", [CANARY, b"\x00\x01 binary", "Größe und Maß"])
    def test_a_secret_comes_back_as_it_was_set(self, vault, value):
        vault.set("google/client_id", value)

        assert vault.get("google/client_id") == value

    def test_a_binary_secret_is_no_text(self, vault):
        vault.set("text", CANARY)
        vault.set("binary", CANARY.encode())

        assert vault.text("text") == CANARY
        with pytest.raises(BadSecret, match="is binary"):
            vault.text("binary")

    def test_setting_again_makes_a_version_and_the_newest_counts(self, vault):
        assert [vault.set("a", f"value {n}") for n in (1, 2, 3)] == [1, 2, 3]
        assert vault.get("a") == "value 3"
        assert [(secret.path, secret.version) for secret in vault.list()] == [("a", 3)]

    def test_nothing_readable_is_stored(self, vault, engine):
        vault.set("a", CANARY)

        with engine.connect() as connection:
            row = connection.execute(sa.select(vault_secret)).one()
        assert CANARY.encode() not in bytes(row.body) + bytes(row.wrapped_key)
        assert row.key_id == KEY.key_id

    @pytest.mark.parametrize("change", [{"path": "b"}, {"tenant": "other"}, {"version": 7}])
    def test_a_row_that_was_moved_does_not_open(self, engine, change):
        Vault(engine, KEY).set("a", CANARY)
        with engine.begin() as connection:
            connection.execute(sa.update(vault_secret).values(change))

        with pytest.raises(Unsealable) as caught:
            Vault(engine, KEY, change.get("tenant", "default")).get(change.get("path", "a"))

        assert caught.value.code == "wrong_seal"

    def test_a_body_that_was_swapped_with_its_key_does_not_open(self, vault, engine):
        vault.set("mine", "my value")
        vault.set("theirs", CANARY)
        with engine.begin() as connection:
            theirs = connection.execute(
                sa.select(vault_secret.c.wrapped_key, vault_secret.c.body).where(vault_secret.c.path == "theirs")
            ).one()
            connection.execute(sa.update(vault_secret).where(vault_secret.c.path == "mine").values(**theirs._mapping))

        with pytest.raises(Unsealable):
            vault.get("mine")

    def test_another_hive_key_is_named_not_guessed(self, vault, engine):
        vault.set("a", CANARY)
        other = HiveKey.of(secrets.token_bytes(32))

        with pytest.raises(Unsealable, match=f"{KEY.key_id}.*{other.key_id}") as caught:
            Vault(engine, other).get("a")

        assert caught.value.code == "wrong_hive_key"

    def test_tenants_do_not_see_each_other(self, engine):
        Vault(engine, KEY, "one").set("a", "first value")
        other = Vault(engine, KEY, "two")

        with pytest.raises(MissingSecret):
            other.get("a")
        assert other.list() == []

    def test_a_missing_path_suggests_what_was_meant(self, vault):
        vault.set("google/client_id", CANARY)

        with pytest.raises(MissingSecret, match="did you mean 'google/client_id'"):
            vault.get("google/clientid")
        with pytest.raises(MissingSecret):
            vault.delete("google/clientid")

    def test_delete_removes_every_version(self, vault):
        vault.set("a", "value 1")
        vault.set("a", "value 2")

        assert vault.delete("a") == 2
        assert vault.list() == []

    @pytest.mark.parametrize(
        "path", ["", "/a", "a/", "a//b", "a b", "a|b", "ä", "hive/keys/default/record", "hive/x", "a\n"]
    )
    def test_paths_that_are_none_or_the_hives_own_are_refused(self, vault, path):
        for action in (lambda: vault.set(path, CANARY), lambda: vault.get(path), lambda: vault.delete(path)):
            with pytest.raises(BadSecret) as caught:
                action()
            assert CANARY not in str(caught.value)

    @pytest.mark.parametrize("value", ["", "abcd", b"abc", "with\0nul"])
    def test_values_that_cannot_be_masked_are_refused(self, vault, value):
        with pytest.raises(BadSecret):
            vault.set("a", value)

    def test_the_hive_itself_may_store_what_a_configuration_held(self, vault):
        vault.set("bees/a/password", "abcd", shortest=0)

        assert vault.get("bees/a/password") == "abcd"

    def test_no_value_is_in_a_message_or_repr(self, vault, engine):
        vault.set("a", CANARY)
        with engine.begin() as connection:
            connection.execute(sa.update(vault_secret).values(body=b"x" * 40))
        with pytest.raises(Unsealable) as caught:
            vault.get("a")

        text = "".join(traceback.format_exception(caught.value)) + repr(vault)
        assert CANARY not in text
        assert KEY.key.hex() not in text


class TestKeyring:
    def test_a_key_is_made_on_first_use_and_stays(self, engine):
        first = Keyring(Vault(engine, KEY)).key("record")

        assert Keyring(Vault(engine, KEY)).key("record") == first
        assert len(first[1]) == 32

    def test_names_and_tenants_have_keys_of_their_own(self, engine):
        one, two = Keyring(Vault(engine, KEY, "one")), Keyring(Vault(engine, KEY, "two"))

        assert len({ring.key(name)[1] for ring in (one, two) for name in ("record", "content")}) == 4

    def test_processes_that_ask_at_once_get_the_same_key(self, database_url):
        with multiprocessing.get_context("spawn").Pool(4) as pool:
            found = pool.map(_record_key, [database_url] * 12, chunksize=1)

        assert len(set(found)) == 1

    @pytest.mark.parametrize("kind", ["EMAIL_ADDRESS", "Größe / cm", "a.b", "x.61", "", "a/b"])
    def test_any_name_of_a_field_has_a_pseudonym_key(self, engine, kind):
        ring: PseudonymKeys = Keyring(Vault(engine, KEY))

        assert ring.pseudonym_key(kind) == Keyring(Vault(engine, KEY)).pseudonym_key(kind)
        assert ring.pseudonym_key(kind) != ring.pseudonym_key("other")

    def test_keys_are_not_listed_among_the_secrets(self, vault):
        Keyring(vault).key("record")

        assert vault.list() == []

    def test_threads_that_ask_at_once_get_the_same_key(self, engine):
        rings = [Keyring(Vault(engine, KEY)) for _ in range(4)]
        start = threading.Barrier(8)

        def ask(number):
            start.wait()
            return rings[number % 4].pseudonym_key("EMAIL_ADDRESS")

        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(ask, range(8)))

        assert len(found) == 1
        with engine.connect() as connection:
            assert connection.scalar(sa.select(sa.func.count()).select_from(vault_secret)) == 1

    def test_a_rotated_key_begins_a_domain_and_the_old_one_is_still_known(self, vault, monkeypatch):
        ring = Keyring(vault)
        old, other = ring.pseudonym_key("EMAIL_ADDRESS"), ring.pseudonym_key("Größe / cm")

        new_id = ring.rotate("EMAIL_ADDRESS")

        after = Keyring(vault)
        assert after.pseudonym_key("EMAIL_ADDRESS")[0] == new_id != old[0]
        assert after.pseudonym_key("Größe / cm") == other
        assert ring.pseudonym_key("EMAIL_ADDRESS") == old
        assert after.pseudonym_keys_of(old[0]) == [("EMAIL_ADDRESS", old[1])]
        assert after.pseudonym_kinds() == ["EMAIL_ADDRESS", "Größe / cm"]
        assert not ring.is_outdated(), "it looks every few seconds only"
        monkeypatch.setattr(keyring, "_LOOK", 0.0)
        assert ring.is_outdated()
        assert not after.is_outdated()

    def test_another_hive_key_around_the_pseudonym_keys_breaks_no_join(self, vault, engine):
        before = Keyring(vault).pseudonym_key("EMAIL_ADDRESS")
        new = HiveKey.of(secrets.token_bytes(32))
        with engine.begin() as connection:
            for row in connection.execute(sa.select(vault_secret)):
                place = f"vault|{row.tenant}|{row.path}|{row.version}"
                data_key = unwrap(KEY.key, row.wrapped_key, f"{place}|{KEY.key_id}".encode())
                wrapped = wrap(new.key, data_key, f"{place}|{new.key_id}".encode())
                connection.execute(sa.update(vault_secret).values(key_id=new.key_id, wrapped_key=wrapped))

        assert Keyring(Vault(engine, new)).pseudonym_key("EMAIL_ADDRESS") == before

    def test_the_id_of_a_pseudonym_key_is_of_letters(self, vault):
        assert re.fullmatch("k[b-v]{8}", Keyring(vault).pseudonym_key("EMAIL_ADDRESS")[0])

    def test_the_id_tells_nothing_of_the_key_and_repr_shows_none(self, vault):
        ring = Keyring(vault)
        key_id, key = ring.key("record")

        assert key_id not in key.hex()
        assert key.hex() not in repr(ring)
        assert len(key_id) == 8


def _record_key(url: str) -> tuple[str, bytes]:
    return Keyring(Vault(make_engine(url), KEY)).key("record")
