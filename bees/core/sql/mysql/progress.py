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
    " 'gtid_executed', 'gtid_current_pos', 'gtid_binlog_pos', 'gtid_slave_pos')"
)
_POSITIONS = ("gtid_current_pos", "gtid_binlog_pos", "gtid_slave_pos")


def reached(data: Stream, where: str) -> str:
    """Where the session's server stands."""
    _, pieces = data.read(ASKED, where)
    rows = [row for piece in pieces for row in zip(*(column.to_pylist() for column in piece.columns()), strict=True)]
    return told((name.decode(), value.decode()) for name, value in rows)


def told(rows: Iterable[tuple[Any, ...]]) -> str:
    """The same from the answer to `ASKED`."""
    said = {str(name).lower(): str(value) for name, value in rows}
    named = said.get("server_uuid") or "{hostname}:{port}/{server_id}".format_map(said)
    found: dict[str, Any] = {"server": named}
    if said.get("gtid_mode", "").upper() == "ON":
        found["mysql"] = said["gtid_executed"].replace("\n", "")
    if positions := [said[name] for name in _POSITIONS if said.get(name)]:
        found["mariadb"] = _text(_domains(",".join(positions)))
    return json.dumps(found)


def compared(data: Stream, seen: str, where: str) -> Word:
    """Whether the session's server has all that another one, or itself, had at `seen`."""
    then, now = json.loads(seen), json.loads(reached(data, where))
    if then["server"] == now["server"]:
        return "there"
    if then.get("mysql") and "mysql" in now:
        return "there" if _holds(now["mysql"], then["mysql"]) else "behind"
    if then.get("mariadb") and "mariadb" in now:
        have = _domains(now["mariadb"])
        wanted = _domains(then["mariadb"]).items()
        return "there" if all(have.get(domain, (0, 0))[1] >= number for domain, (_, number) in wanted) else "behind"
    return "other"


def _holds(have: str, wanted: str) -> bool:
    """Whether one GTID set of MySQL holds another one."""
    runs = binlog.gtid_intervals(have)
    return all(
        any(low <= first and last <= high for low, high in runs.get(uuid, ()))
        for uuid, some in binlog.gtid_intervals(wanted).items()
        for first, last in some
    )


def _domains(text: str) -> dict[int, tuple[int, int]]:
    """A position of MariaDB, or several: domain -> (server, the greatest number)."""
    found: dict[int, tuple[int, int]] = {}
    for part in filter(None, text.replace(" ", "").split(",")):
        domain, server, number = map(int, part.split("-"))
        if number > found.get(domain, (0, -1))[1]:
            found[domain] = server, number
    return found


def _text(domains: dict[int, tuple[int, int]]) -> str:
    return ",".join(f"{domain}-{server}-{number}" for domain, (server, number) in sorted(domains.items()))
