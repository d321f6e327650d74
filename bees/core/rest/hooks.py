"""Functions of the user's own, where a declaration ends; each is named `package.module:function`.

    def fetcher(http, page):        # one page: {"items": [...], "next": place or None}
        told = http.get("/search", params={"from": page["since"], "at": page["at"]})
        return {"items": told["hits"], "next": told.get("scroll")}

    def transformer(item):          # a record, several, or None to leave it out
        return {"id": item["key"], **item["fields"]}

    def change_detector(item):      # text or number: the item comes when it is another one than last time
        return item["fields"]["updated"]

`http` is the guarded client, logged in: `get(path, params=None)` and `post(path, json, params=None)` give what the body
says. `page` holds `stream`, `at` (the place, None at first), `since` (the cursor's highest value), `until` and `page`
(its number). `next` is plain JSON; where it counts pages or rows, rows may move between two pages unseen, and what was
not met is not taken for deleted. What raises fails the page, or sets the one item aside, with the function's name and
the error's class.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from bees.core.errors import GiveUp, SourceError
from nectar.batch import Reject
from nectar.errors import SkipRecord
from nectar.jsonrows import parse, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Http(Protocol):
    """What a fetcher gets."""

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any: ...

    def post(self, path: str, json: Any, params: Mapping[str, Any] | None = None) -> Any: ...


def function(use: str, where: str) -> Callable[..., Any]:
    """What `use` names. Raises GiveUp (`bad_hook`) with what is wrong."""
    path, _, name = use.partition(":")
    problem = f"the module {path!r} has no function {name!r}"
    try:
        found = getattr(importlib.import_module(path), name, None)
        if callable(found):
            return found  # type: ignore[no-any-return]
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a user's module raises
        problem = f"the module {path!r} cannot be imported: {type(error).__name__}"
    advice = "mend it, or put its folder into PYTHONPATH, for every worker"
    raise GiveUp(problem, code="bad_hook", where=where, advice=advice)


def version(uses: list[str]) -> str:
    """Changes with the text of the modules; empty without any. Raises GiveUp."""
    texts = [_text_of(function(use, "")) for use in uses]
    return hashlib.sha256("\0".join([*uses, *texts]).encode()).hexdigest()[:16] if uses else ""


def _text_of(found: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(inspect.getmodule(found) or found)
    except (OSError, TypeError):
        return ""  # nobody has its text: the name alone must do


def fetched(use: str, http: Http, page: Mapping[str, Any], where: str) -> tuple[list[Any], Any]:
    """The items of a page and the next place."""
    call = function(use, where)
    problem = ""
    told: Any = None
    try:
        told = call(http, dict(page))
    except SourceError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a user's function raises
        problem = f"{use} failed with {type(error).__name__}"
    if not problem and not (isinstance(told, dict) and isinstance(told.get("items"), list)):
        problem = f'{use} gives no {{"items": [...], "next": ...}}'
    if problem:
        raise GiveUp(problem, code="hook_failed", where=where, advice="mend the function")
    return [plain(item, where) for item in told["items"]], told.get("next")


def plain(value: Any, where: str) -> Any:
    """What a function gives, as JSON reads it. Raises GiveUp for what JSON cannot say."""
    try:
        return parse(text(value))
    except (TypeError, ValueError, orjson.JSONEncodeError, SkipRecord, RecursionError):
        pass
    raise GiveUp("a function gives what is no JSON", code="hook_failed", where=where, advice="give plain values")


def made(use: str, item: Any, position: str) -> tuple[list[Any], list[Reject]]:
    """The records that a transformer makes of an item; an item on which it fails is set aside."""
    call = function(use, position)
    problem = ""
    told: Any = None
    try:
        told = call(item)
    except Exception as error:  # noqa: BLE001 - whatever a user's function raises
        problem = f"{use} failed with {type(error).__name__}"
    if problem:
        return [], [Reject(position, "transform_failed", problem, text(item).encode("utf-8", "backslashreplace"))]
    several = told if isinstance(told, list) else [] if told is None else [told]
    return [plain(one, position) for one in several], []


def detected(use: str, item: Any, where: str) -> str:
    """The version that a change detector gives an item."""
    call = function(use, where)
    problem = ""
    told: Any = None
    try:
        told = call(item)
    except Exception as error:  # noqa: BLE001 - whatever a user's function raises
        problem = f"{use} failed with {type(error).__name__}"
    if not problem and (isinstance(told, bool) or not isinstance(told, str | int | float)):
        problem = f"{use} gives a {type(told).__name__}, expected a text or a number"
    if problem:
        raise GiveUp(problem, code="hook_failed", where=where, advice="mend the function")
    return str(told)
