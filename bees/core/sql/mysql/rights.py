"""What a user may do besides reading, as its grants say it.

SHOW GRANTS tells all that was granted to the user and to the roles that are active; it is asked again with each role
that is granted and not active, because a user may always take it on. What cannot be read counts as a right too many:
nothing is taken for harmless because it is unknown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bees.core.errors import GiveUp
from bees.core.sql.mysql.forms import name_of

if TYPE_CHECKING:
    from bees.core.sql.mysql.session import Questions

_HARMLESS = {
    "USAGE", "SELECT", "SHOW VIEW", "SHOW DATABASES", "PROCESS", "REPLICATION CLIENT", "REPLICATION SLAVE",
    "BINLOG MONITOR", "SLAVE MONITOR", "REPLICA MONITOR", "REPLICATION REPLICA", "SHOW_ROUTINE", "SHOW CREATE ROUTINE",
}  # fmt: skip
_SHOWN = 5
_MOST_ROLES = 50
_NAME = r"(?:`(?:[^`]|``)*`|'(?:[^']|'')*'|[^\s,@]+)"
_ON = re.compile(rf"GRANT (?P<what>.+?) ON (?P<where>.+?) TO {_NAME}(?:@{_NAME})?(?P<rest>.*)", re.DOTALL)
_ROLES = re.compile(rf"GRANT (?P<roles>{_NAME}(?:@{_NAME})?(?:, ?{_NAME}(?:@{_NAME})?)*) TO .*", re.DOTALL)
_ROLE = re.compile(rf"{_NAME}(?:@{_NAME})?")
_COLUMNS = re.compile(r"\s*\((?:`(?:[^`]|``)*`|[^()`])*\)")


@dataclass(frozen=True)
class Rights:
    """What the user may do beyond reading, in words ("INSERT on `shop`.`orders`"); empty: it only reads."""

    beyond: tuple[str, ...]

    @property
    def told(self) -> str:
        shown = ", ".join(self.beyond[:_SHOWN])
        return f"{shown}, and more" if len(self.beyond) > _SHOWN else shown


def rights(questions: Questions) -> Rights:
    """Read the grants of this user and of every role it may take on."""
    own = _lines(questions, "SHOW GRANTS")
    if own is None:
        return Rights(("something that the server does not tell",))
    found = [said for line in own for said in beyond(line)]
    roles = dict.fromkeys(role for line in own for role in roles_in(line))
    for number, role in enumerate(roles):
        # What a role has by another role stands among its own grants.
        lines = _with_role(questions, role) if number < _MOST_ROLES else None
        if lines is None:
            found.append(f"what the role {role} may do, which the server does not tell")
        found += [f"{said} as {role}" for line in lines or () if line not in own for said in beyond(line)]
    return Rights(tuple(dict.fromkeys(found)))


def _with_role(questions: Questions, role: str) -> list[str] | None:
    """The grants that hold once the role is taken on. A MariaDB server tells them only to who has taken it on."""
    if not questions.mariadb:
        return _lines(questions, f"SHOW GRANTS FOR CURRENT_USER() USING {role}")
    ((before,),) = questions.rows("SELECT CURRENT_ROLE()")
    if _lines(questions, f"SET ROLE {role}") is None:
        return None
    try:
        return _lines(questions, "SHOW GRANTS")
    finally:
        questions.rows("SET ROLE NONE" if before is None else f"SET ROLE {name_of(str(before))}")


def _lines(questions: Questions, statement: str) -> list[str] | None:
    from pymysql.err import Error

    try:
        return [str(line) for (line,) in questions.rows(statement)]
    except Error:
        return None


def roles_in(line: str) -> list[str]:
    """The roles that a line of SHOW GRANTS gives, as SHOW GRANTS FOR takes them."""
    if _ON.fullmatch(line) or not (match := _ROLES.fullmatch(line)):
        return []
    return _ROLE.findall(match["roles"])


def beyond(line: str) -> list[str]:
    """What a line of SHOW GRANTS allows besides reading."""
    match = _ON.fullmatch(line)
    if match is None:
        return [] if roles_in(line) or line.startswith("SET DEFAULT ROLE") else ["something that is not understood"]
    place = match["where"]
    granted = [one.strip().upper() for one in _COLUMNS.sub("", match["what"]).split(",")]
    found = [f"{one} on {place}" for one in granted if one not in _HARMLESS]
    if "GRANT OPTION" in match["rest"].upper():
        found.append(f"GRANT OPTION on {place}")
    return found


def too_much(user: str, found: Rights) -> GiveUp:
    return GiveUp(
        f"the user {user!r} can do more than read: {found.told}",
        code="writable_role",
        where="user",
        advice="use a user that has SELECT and nothing else, REVOKE what is named here, or accept it with "
        "`allow_writable_role: true`",
    )
