"""`hive comb test`, `schema` and `login`: for whoever writes a comb, or has to log in for one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hive.cli import show

if TYPE_CHECKING:
    from hive.combs.comb import Comb

Parameters = Annotated[
    list[str] | None, typer.Option("--parameter", "-p", metavar="KEY=VALUE", help="A parameter; may be repeated.")
]


def tried(
    comb: Annotated[str, typer.Argument(metavar="FILE", help="File of a comb, or the id of one.")],
    parameter: Parameters = None,
    mode: Annotated[str | None, typer.Option(help="Way of extraction. [default: the comb's]")] = None,
    rows: Annotated[int, typer.Option(min=1, max=100, help="How many records of each stream are shown.")] = 3,
    json: show.Json = False,
) -> None:
    """Try a comb: read one page of each stream and show the records.

    Nothing lands. Records are scrubbed as the bee would do it, and shown as shapes: letters as x, digits as 9. Secrets
    may be references, such as -p token='${TOKEN}'. Needs no hive.
    """
    from hive.cli.combs import values_of
    from hive.combs.trial import trial

    found = _chosen(comb)
    with show.working(f"{found.id}: reads"):
        pages = trial(found, values_of(parameter or [], None), _vault, mode=mode, rows=rows)
    if json:
        show.document({"comb": found.id, "streams": [one.json() for one in pages]})
    else:
        for one in pages:
            _print(one)
    for one in pages:
        if one.missing:
            show.say(f"hive: stream {one.stream!r}: no record has the field {one.missing[0]!r} of its key or cursor")
        for code, count in one.rejects.items():
            show.say(f"hive: stream {one.stream!r}: {count} items would go to quarantine: {code}")
    if any(one.missing for one in pages):
        raise typer.Exit(1)


def schema() -> None:
    """Print a JSON Schema of a comb's file, for editors."""
    from hive.combs.schema import schema as made

    show.document(made())


def login(
    path: Annotated[str, typer.Argument(metavar="PATH", help="Where the vault keeps the refresh token.")],
    device_url: Annotated[str, typer.Option(help="Address that gives device codes.")],
    token_url: Annotated[str, typer.Option(help="Address that gives tokens.")],
    client_id: Annotated[str, typer.Option(help="The client that logs in.")],
    scope: Annotated[str, typer.Option(help="What is asked for, words with a space between.")] = "offline_access",
    secret: Annotated[bool, typer.Option("--secret", help="Read the client's secret from standard input.")] = False,
    allow_private: Annotated[bool, typer.Option(help="The server is meant to be on a private network.")] = False,
    tenant: Annotated[str, typer.Option(help="Whose secret it is.")] = "default",
) -> None:
    """Log in by the device flow (RFC 8628) and keep the refresh token in the vault.

    Open the address that is shown, on any device, and type the code there. A bee then says
    auth: {method: oauth2_refresh_token, refresh_token: "{{ vault:PATH }}", ...}.
    """
    from contextlib import closing

    from bees.core.http import Credentials, HttpClient, basic
    from bees.core.rest.device import device_login
    from hive.cli.ledger import ledger
    from hive.vault.store import check_path

    check_path(path)
    hidden = _secret() if secret else ""
    known = Credentials({"Authorization": basic(client_id, hidden)} if hidden else {}, option="--client-id, --secret")
    fields = {"client_id": client_id, "scope": scope}
    with ledger() as rt:
        client = HttpClient(device_url, credentials=known, origins=[token_url], allow_private=allow_private)
        with closing(client):
            token = device_login(client, (device_url, token_url), fields, _tell)
        version = rt.vault(tenant).set(path, token)
    show.say(f"{path}: version {version} is kept")


def _tell(address: str, code: str) -> None:
    # Both are for the person at this terminal; what a server wrote may hold anything else.
    told = [
        text if text.isascii() and text.isprintable() and len(text) < 200 else "(unreadable)"
        for text in (address, code)
    ]
    show.say(f"open {told[0]} and type {told[1]}")


def _secret() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("secret of the client", hide_input=True, err=True))
    return sys.stdin.read().removesuffix("\n")


def _chosen(name: str) -> Comb:
    from hive.combs import CombLibrary
    from hive.combs.library import read_combs
    from hive.config.problems import ConfigProblems, Problem

    path = Path(name)
    if not (path.is_file() or path.suffix or "/" in name):
        return CombLibrary().comb(name)
    combs = read_combs(path)
    if len(combs) != 1:
        raise ConfigProblems([Problem(f"holds {len(combs)} combs", name, expected="a file with one comb")])
    return next(iter(combs.values()))


def _vault(path: str) -> str:
    """Of the running hive, where one runs."""
    from hive.runtime import open_runtime
    from hive.settings import NotRunning
    from hive.vault.store import MissingSecret

    try:
        rt = open_runtime()
    except NotRunning:
        raise MissingSecret(path) from None
    try:
        return rt.vault().text(path)
    finally:
        rt.close()


def _print(one: Any) -> None:
    import yaml

    print(f"{one.stream}: {one.rows} records in the first page; key: {', '.join(one.key) or 'none'}")
    for record in one.records:
        text = yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=110, default_flow_style=False)
        print("  - " + text.rstrip().replace("\n", "\n    "))
