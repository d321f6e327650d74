"""How far a MySQL or MariaDB server has come: the transactions that it has, by their GTIDs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bees.core.sql.mysql import binlog

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bees.core.sql.mysql.session import Stream
    from bees.core.sql.progress import Word

ASKED = (
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_uuid', 'server_id', 'hostname', 'port', 'gtid_mode',"
    " 'gtid_executed', 'gtid_current_pos')"
)


def reached(data: Stream, where: str) -> str:
    """Where the session's server stands."""
    _, pieces = data.read(ASKED, where)
    rows = [row for piece in pieces for row in zip(*(column.to_pylist() for column in piece.columns()), strict=True)]
    return told((name.decode(), value.decode()) for name, value in rows)


def server(rows: Iterable[tuple[Any, ...]]) -> str:
    """The server's own name among servers, from the answer to `ASKED`: MySQL makes itself one, MariaDB does not."""
    said = {str(name).lower(): str(value) for name, value in rows}
    return said.get("server_uuid") or "{hostname}:{port}/{server_id}".format_map(said)


def told(rows: Iterable[tuple[Any, ...]]) -> str:
    """Where a server stands, from the answer to `ASKED`."""
    answer = list(rows)
    said = {str(name).lower(): str(value) for name, value in answer}
    found: dict[str, Any] = {"server": server(answer)}
    if said.get("gtid_mode", "").upper() == "ON":
        found["mysql"] = said["gtid_executed"].replace("\n", "")
    if said.get("gtid_current_pos"):
        found["mariadb"] = said["gtid_current_pos"]
    return json.dumps(found)


def compared(data: Stream, seen: str, where: str) -> Word:
    """Whether the session's server has all that another one, or itself, had at `seen`."""
    then, now = json.loads(seen), json.loads(reached(data, where))
    if then["server"] == now["server"]:
        return "there"
    if then.get("mysql") and "mysql" in now:
        return "there" if _holds(now["mysql"], then["mysql"]) else "behind"
    if then.get("mariadb") and "mariadb" in now:
        have, wanted = _domains(now["mariadb"]), _domains(then["mariadb"])
        return "there" if all(have.get(domain, -1) >= number for domain, number in wanted.items()) else "behind"
    return "other"


def _holds(have: str, wanted: str) -> bool:
    """Whether one GTID set of MySQL holds another one."""
    runs = binlog.gtid_intervals(have)
    return all(
        any(low <= first and last <= high for low, high in runs.get(uuid, ()))
        for uuid, some in binlog.gtid_intervals(wanted).items()
        for first, last in some
    )


def _domains(position: str) -> dict[int, int]:
    """A position of MariaDB: domain -> number of its last transaction."""
    parts = (part.split("-") for part in position.replace(" ", "").split(",") if part)
    return {int(domain): int(number) for domain, _, number in parts}
