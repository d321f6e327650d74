"""Secrets at rest: the hive key, sealed envelopes, the store of secrets, and the keyring of named keys."""

from hive.vault.envelope import Unsealable
from hive.vault.key import HiveKey, KeyFileRefused, MissingHiveKey, hive_key
from hive.vault.keyring import Keyring
from hive.vault.store import BadSecret, MissingSecret, Vault

__all__ = [
    "BadSecret",
    "HiveKey",
    "KeyFileRefused",
    "Keyring",
    "MissingHiveKey",
    "MissingSecret",
    "Unsealable",
    "Vault",
    "hive_key",
]
