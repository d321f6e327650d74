"""The login that `hive up` makes and prints: of the gateway's JSON, of its pages, and of Flower."""

from __future__ import annotations

from hive.settings import Settings


def operator_login(settings: Settings) -> str | None:
    """`user:password`: the running hive's, else HIVE_FLOWER_LOGIN; None where there is neither."""
    state = settings.running().get("flower_login")
    if state:
        return f"{state['user']}:{state['password']}"
    return settings.flower_login.get_secret_value() if settings.flower_login is not None else None
