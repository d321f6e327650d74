"""Process settings: the only reader of the environment. All defaults stand here; secrets are hidden in the repr."""

from __future__ import annotations

import difflib
import functools
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

Seconds = Annotated[float, Field(le=31_536_000, allow_inf_nan=False)]
"""A year at most: what is longer was meant otherwise."""
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
    BeforeValidator(lambda level: level.upper() if isinstance(level, str) else level),
]


_OTHERS = {"HIVE_TEST_STRICT", "HIVE_MANAGER_URL"}
"""Variables that are not read here: of the tests, and of containers of other systems."""


class Settings(BaseSettings):
    """Read once per process. Times are seconds, sizes are bytes."""

    model_config = SettingsConfigDict(env_prefix="HIVE_", frozen=True, extra="ignore", hide_input_in_errors=True)

    data_dir: Path = Field(
        Path(".hive"), description="where embedded servers, the hive key and the running hive's state live"
    )
    database_url: SecretStr | None = Field(
        None, description="our PostgreSQL; unset: the embedded server under the data folder"
    )
    redis_url: SecretStr | None = Field(
        None, description="the broker; unset: the embedded server under the data folder"
    )
    config: Path | None = Field(None, description="the configuration file that names the bees")
    combs: Path | None = Field(None, description="folder of combs of one's own; unset: `combs` beside the config")
    watch: bool = Field(False, description="take the configuration into use again whenever its files change")
    key: SecretStr | None = Field(None, description="the hive key: 32 bytes as base64 or hex")
    key_file: Path | None = Field(None, description="a file that holds the hive key, mode 0600")

    gateway_host: str = Field("127.0.0.1", description="address the gateway listens on")
    gateway_port: int = Field(8000, ge=0, le=65535, description="the gateway's port; 0 is any free one")
    trusted_proxies: str | None = Field(
        None,
        pattern=r"^[0-9a-fA-F:.,/ ]*$",
        description="addresses or networks of proxies, with commas, whose X-Forwarded-For is believed; unset: nobody's",
    )
    flower_port: int = Field(5555, ge=0, le=65535, description="Flower's port; 0 is any free one")
    flower_link: str | None = Field(
        None,
        pattern=r"^(/|https?://)[!-~]*$",
        description="where the pages' link to Flower leads, such as /flower/ behind a proxy; unset: to its port",
    )

    flower_login: SecretStr | None = Field(
        None, description="user:password of Flower; unset: made once under the data folder"
    )

    lease: Seconds = Field(
        10.0, gt=0, description="seconds without a heartbeat after which a worker's tasks are taken back"
    )
    heartbeat: Seconds = Field(
        2.0, gt=0, validate_default=True, description="seconds between heartbeats of a worker process"
    )
    janitor: Seconds = Field(1.0, gt=0, description="seconds between two janitor passes")
    leg: Seconds = Field(60.0, ge=0, description="seconds that one collect task reads before it hands over to the next")
    landing_limit: Seconds = Field(300.0, gt=0, description="seconds that one landing transaction may last")
    stall: Seconds = Field(
        900.0, gt=0, description="seconds without a batch read or landed after which a worker's child is killed"
    )
    spin: Seconds = Field(
        15.0,
        gt=0,
        description="seconds of processor time without a batch, a byte passed or more memory after which it is, too",
    )
    child_memory: int = Field(
        0, ge=0, description="bytes of memory above which a worker's child is killed; 0: half of all, 1 GiB at least"
    )
    answer_limit: Seconds = Field(
        60.0, gt=0, description="seconds after which a transaction of a process ends whose database says nothing"
    )
    batch_bytes: int = Field(16 << 20, ge=1, description="a batch is closed at this size, uncompressed")
    batch_rows: int = Field(20_000, ge=1, description="a batch is closed at this number of records")
    batch_wait: Seconds = Field(0.5, ge=0, description="a batch is closed when its first record has waited this long")
    value_limit: int = Field(64 << 20, ge=1, description="a value above this size is quarantined")
    hints_per_queue: int = Field(32, ge=1, description="hints outstanding on one queue; the rest waits in the ledger")
    pending_bytes_per_flight: int = Field(
        512 << 20, ge=1, description="sealed bytes of one flight above which it stops reading"
    )
    pending_bytes: int = Field(4 << 30, ge=1, description="sealed bytes of all flights above which nothing is read")
    disk_reserve: int = Field(
        256 << 20, ge=0, description="bytes free on the disk of an embedded database below which nothing is read"
    )
    max_attempts: int = Field(5, ge=1, description="attempts after which a task is dead")
    retention_days: int = Field(
        7, ge=1, le=36_500, description="days that finished tasks, receipts and events are kept"
    )
    history_days: int = Field(
        90, ge=1, le=36_500, description="days that closed flights and slots are kept; the last flight of a bee stays"
    )
    transaction_pooling: bool = Field(
        False, description="the database is reached through pgbouncer in transaction mode"
    )
    ready_file: Path | None = Field(None, description="a file that this process makes once it works; set by `hive up`")
    allow_detokenize: bool = Field(
        False, description="`hive vault detokenize` may turn tokens back into values; each use is audited"
    )
    log_level: LogLevel = Field("INFO", description="least severe level that is logged")
    own_table: int = Field(
        5_000_000, ge=0, description="records from which on a jar moves into a table of its own; 0: none does"
    )
    search: bool = Field(True, description="index landed text for full-text search")
    crash_at: str = Field("", description="tests only: kill this process at the named step of the protocol")
    crash_once: Path | None = Field(
        None, description="tests only: a file that is made by the first crash and prevents a second"
    )

    @field_validator("heartbeat")
    @classmethod
    def _before_the_lease_ends(cls, heartbeat: float, told: ValidationInfo) -> float:
        lease = told.data.get("lease")
        if lease is not None and heartbeat >= lease:
            raise PydanticCustomError(
                "late_heartbeat",
                "{heartbeat} seconds is no less than HIVE_LEASE ({lease}): workers would count as dead",
                {"heartbeat": f"{heartbeat:g}", "lease": f"{lease:g}"},
            )
        return heartbeat

    @property
    def key_path(self) -> Path:
        return self.key_file or self.data_dir / "hive.key"

    @property
    def state_path(self) -> Path:
        """What a running hive tells the other commands on this machine: addresses, with passwords; mode 0600."""
        return self.data_dir / "hive.json"

    def running(self) -> dict[str, Any]:
        """The state of the hive that runs on this data folder; empty where none does."""
        try:
            state: dict[str, Any] = json.loads(self.state_path.read_text())
        except (FileNotFoundError, NotADirectoryError):
            return {}
        return state

    def database(self) -> str:
        """Address of our PostgreSQL, password included. Raises NotRunning where there is none."""
        return self._address(self.database_url, "database_url", "HIVE_DATABASE_URL")

    def redis(self) -> str:
        """Address of the broker, password included. Raises NotRunning where there is none."""
        return self._address(self.redis_url, "redis_url", "HIVE_REDIS_URL")

    def _address(self, given: SecretStr | None, name: str, variable: str) -> str:
        if given is not None:
            return given.get_secret_value()
        found = self.running().get(name)
        if not found:
            raise NotRunning(
                f"no hive is running on the data folder {self.data_dir.absolute()}: start one with `hive up`, name the "
                f"folder of one that runs by HIVE_DATA_DIR, or set {variable}"
            )
        return str(found)


class NotRunning(RuntimeError):
    """There is no server to talk to: neither an address in the environment nor a hive on this data folder."""


@functools.cache
def settings() -> Settings:
    """The settings of this process."""
    return Settings()


def environment() -> Mapping[str, str]:
    """The environment that `${NAME}` in a bee's configuration is read from."""
    return os.environ


def doubtful_variables() -> dict[str, str]:
    """Variables HIVE_... that nothing reads -> the one that was perhaps meant, or nothing."""
    known = {f"HIVE_{name.upper()}" for name in Settings.model_fields} | _OTHERS
    found = sorted(name for name in os.environ if name.startswith("HIVE_") and name not in known)
    return {name: next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.8)), "") for name in found}


def one_thread() -> None:
    """Say, before polars is loaded, that this process is one of a pool: its siblings use the other processors."""
    os.environ.setdefault("POLARS_MAX_THREADS", "1")


def export_flower_options() -> None:
    """Flower's options as the environment it reads: loopback address, a login, read only.

    The login is the running hive's, else HIVE_FLOWER_LOGIN, else one made once at `<data>/flower.login`.
    """
    chosen = settings()
    os.environ.setdefault("FLOWER_ADDRESS", "127.0.0.1")
    os.environ.setdefault("FLOWER_PORT", str(chosen.flower_port))
    os.environ.setdefault("FLOWER_BASIC_AUTH", _flower_login(chosen))
    os.environ.setdefault("FLOWER_READ_ONLY", "true")


def _flower_login(chosen: Settings) -> str:
    state = chosen.running().get("flower_login")
    if state:
        return f"{state['user']}:{state['password']}"
    if chosen.flower_login is not None:
        return chosen.flower_login.get_secret_value()
    path = chosen.data_dir / "flower.login"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        login = f"hive:{secrets.token_urlsafe(16)}"
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(login + "\n")
        return login
