"""Tokens back to values, for whoever has the hive key and the permission; and new keys for pseudonyms.

There is no model of users' rights yet, so the permission is a setting of this machine: HIVE_ALLOW_DETOKENIZE. Each use
is written down before a value is shown, and so is each refusal.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hive.errors import HiveError
from hive.vault.audit import note
from nectar.scrub.treat.tokens import BadToken, key_id_of, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hive.runtime import Runtime


class DetokenizeRefused(HiveError):
    """Values may not be read here, or there is no such token. Holds neither token nor value."""

    code = "detokenize_refused"


def detokenize(rt: Runtime, tokens: Sequence[str], *, reason: str, tenant: str = "default") -> list[str]:
    """The values of the tokens, in their order: all or none.

    Raises DetokenizeRefused without the permission or a reason, and for a token that no key of the tenant opens; it
    names the token by its place.
    """
    reason = reason.strip()
    if not reason:
        raise DetokenizeRefused("no reason was given", advice='say why the values are needed with --reason "..."')
    if not rt.settings.allow_detokenize:
        note(rt.db.engine, "detokenize:refused", tenant, {"tokens": len(tokens), "reason": reason})
        raise DetokenizeRefused(
            "tokens may not be read back here",
            advice="whoever is responsible for this machine allows it with HIVE_ALLOW_DETOKENIZE=true",
        )
    ring = rt.keyring(tenant)
    known: dict[str, Sequence[tuple[str, bytes]]] = {}
    values: list[str] = []
    kinds: Counter[str] = Counter()
    for place, written in enumerate(tokens, 1):
        try:
            key_id = key_id_of(written)
        except BadToken as error:
            raise DetokenizeRefused(f"token {place}: {error}") from None
        if key_id not in known:
            known[key_id] = ring.pseudonym_keys_of(key_id)
        kind, value = _opened(written, known[key_id], place)
        values.append(value)
        kinds[kind] += 1
    told = {"tokens": len(tokens), "kinds": dict(kinds), "key_ids": sorted(known), "reason": reason}
    note(rt.db.engine, "detokenize", tenant, told)
    return values


def _opened(written: str, keys: Sequence[tuple[str, bytes]], place: int) -> tuple[str, str]:
    """(kind, value)"""
    for kind, key in keys:
        try:
            return kind, read(written, kind, key)
        except BadToken:
            continue
    raise DetokenizeRefused(
        f"token {place} does not open: no key of this tenant made it, or it was changed",
        advice="check the tenant (--tenant), and that the token was copied as a whole",
    )


def rotate_pseudonyms(rt: Runtime, kinds: Sequence[str] | None, *, tenant: str = "default") -> dict[str, str]:
    """Give each of these kinds (None: all that have one) a new key, and return kind -> key id.

    What is written from then on joins nothing that was written before. Raises LookupError for a kind without a key.
    """
    from hive.config.problems import did_you_mean

    ring = rt.keyring(tenant)
    there = ring.pseudonym_kinds()
    for kind in kinds or ():
        if kind not in there:
            hint = did_you_mean(kind, there) or f"; there are {', '.join(there) or 'none'}"
            raise LookupError(f"no pseudonym or token of {kind!r} was ever made for {tenant!r}{hint}")
    chosen = list(dict.fromkeys(there if kinds is None else kinds))
    note(rt.db.engine, "rotate", tenant, {"kinds": chosen})
    return {kind: ring.rotate(kind) for kind in chosen}
