"""A connector of its own for tests of configuration. A test module imports the fixtures by name."""

from __future__ import annotations

import textwrap
from typing import Literal

import pytest
from pydantic import Field, SecretStr, field_validator

import hive.config.check
import hive.config.load
from bees.core.bee import BeeOptions
from hive.config.load import load
from hive.registry import UnknownConnector

__all__ = ["CANARY", "VillageOptions", "only_the_village", "read"]

CANARY = "canary-8f2b1c"


class Stamp(BeeOptions):
    cursor: str | None = Field(None, description="column that grows")
    key: str | None = None


class Login(BeeOptions):
    kind: Literal["login"] = "login"
    user: str = ""
    password: SecretStr = SecretStr("")


class Token(BeeOptions):
    kind: Literal["token"]
    token: SecretStr


class VillageOptions(BeeOptions):
    host: str = Field(description="server name or address")
    port: int = Field(1, description="the server's port")
    password: SecretStr | None = Field(None, description="the user's password")
    timezone: str = "anywhere"
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    logins: tuple[Login, ...] = ()
    auth: Login | Token | None = None
    shape: str = "round"
    streams: dict[str, Stamp] = Field(default_factory=dict)

    @field_validator("shape")
    @classmethod
    def _round(cls, value: str) -> str:
        if value != "round":
            raise ValueError(f"{value} is not round")
        return value


class VillageBee:
    Options = VillageOptions
    bee_type = "api"


def _connector(name: str) -> type[VillageBee]:
    if name != "village":
        raise UnknownConnector(name)
    return VillageBee


@pytest.fixture(autouse=True)
def only_the_village(monkeypatch):
    for module in (hive.config.check, hive.config.load):
        monkeypatch.setattr(module, "connector", _connector)
    monkeypatch.setattr(hive.config.check, "connectors", lambda: {"village": None})


@pytest.fixture
def read(tmp_path):
    def read_text(text, suffix=".yaml", **known):
        file = tmp_path / f"hive{suffix}"
        file.write_text(textwrap.dedent(text))
        return load(file, **known)

    return read_text
