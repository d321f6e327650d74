"""One server that answers as sixteen vendors document it: with their logins, their pages of two, their filters.

The second page that anybody asks for is answered 429 once, with Retry-After.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

COUNT = 7
SIZE = 2
TOKEN = "canary-vendor-token-4711"
_EXAMPLES: dict[str, Any] = yaml.safe_load((Path(__file__).parents[1] / "data" / "vendors" / "records.yml").read_text())
Query = Mapping[str, str]
Answer = tuple[Any, dict[str, str]]


def records(comb: str) -> list[dict[str, Any]]:
    """COUNT records of a vendor, the oldest first, each a day later than the one before."""
    return [_numbered(_EXAMPLES[comb], n) for n in range(1, COUNT + 1)]


def epoch(day: int) -> int:
    return int(datetime(2026, 1, day, tzinfo=UTC).timestamp())


def _numbered(value: Any, n: int) -> Any:
    if isinstance(value, dict):
        return {key: _numbered(item, n) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    if value in ("{n}", "{epoch}"):
        return n if value == "{n}" else epoch(n)
    return value.replace("{n}", str(n)).replace("{day}", f"{n:02}").replace("{epoch}", str(epoch(n)))


@dataclass
class Asked:
    """A request, and what the vendor holds."""

    comb: str
    url: str
    path: str
    query: Query
    body: Any
    rows: list[dict[str, Any]]

    def since(self, name: str, at: Callable[[dict[str, Any]], str], least: str) -> list[dict[str, Any]]:
        assert least, f"{self.comb} asks without {name}"
        return [row for row in self.rows if at(row) >= least]


def _at(place: Any) -> int:
    return int(place or 0)


def _link(asked: Asked, rows: list[dict[str, Any]], name: str) -> Answer:
    """Pages by Link header: the next address has the place in `name` and nothing but what it needs."""
    at = _at(asked.query.get(name))
    if at + SIZE >= len(rows):
        return rows[at:], {}
    return rows[at : at + SIZE], {"Link": f'<{asked.url}{asked.path}?{name}={at + SIZE}>; rel="next"'}


def noaa(a: Asked) -> Answer:
    assert a.path == "/alerts/active"
    assert a.query.get("severity", "Severe") == "Severe"
    at = _at(a.query.get("cursor"))
    more = {"pagination": {"next": f"{a.url}{a.path}?cursor={at + SIZE}"}} if at + SIZE < COUNT else {}
    return {"type": "FeatureCollection", "features": a.rows[at : at + SIZE], **more}, {}


def github(a: Asked) -> Answer:
    assert a.path == "/repos/octocat/Hello-World/issues"
    if "page" in a.query:
        return _link(a, a.rows, "page")
    assert a.query["sort"] == "updated"
    assert a.query["direction"] == "asc"
    return _link(a, [r for r in a.rows if r["updated_at"] >= a.query.get("since", "")], "page")


def jira(a: Asked) -> Answer:
    assert a.path == "/rest/api/3/search/jql"
    jql, _, least = a.query["jql"].partition(" AND updated >= ")
    assert jql == "(project = ED)"
    assert least.endswith(" ORDER BY updated ASC")
    wanted = [row for n, row in enumerate(a.rows, 1) if epoch(n) * 1000 >= int(least.split()[0])]
    at = _at(a.query.get("nextPageToken"))
    last = at + SIZE >= len(wanted)
    return {"issues": wanted[at : at + SIZE], "isLast": last, **({} if last else {"nextPageToken": str(at + SIZE)})}, {}


def gitlab(a: Asked) -> Answer:
    assert a.path == "/projects/diaspora/diaspora/issues"
    if "page" in a.query:
        return _link(a, a.rows, "page")
    assert a.query["order_by"] == "updated_at"
    return _link(a, [r for r in a.rows if r["updated_at"] >= a.query.get("updated_after", "")], "page")


def datadog(a: Asked) -> Answer:
    assert a.path == "/api/v2/logs/events/search"
    assert a.body["sort"] == "timestamp"
    told = a.body["filter"]
    wanted = [r for r in a.rows if told["from"] <= r["attributes"]["timestamp"].replace(".000", "") < told["to"]]
    at = _at(a.body["page"].get("cursor"))
    more = {"meta": {"page": {"after": str(at + SIZE)}}} if at + SIZE < len(wanted) else {"meta": {}}
    return {"data": wanted[at : at + SIZE], **more}, {}


def salesforce(a: Asked) -> Answer:
    if a.path.startswith("/services/data/v62.0/query/"):
        at = int(a.path.rpartition("-")[2])
        wanted = a.rows
    else:
        told = a.query["q"].split()
        assert told[:4] == ["SELECT", "FIELDS(STANDARD)", "FROM", "Account"]
        assert told[-3:] == ["ORDER", "BY", "SystemModstamp"]
        at, least = 0, told[7].replace("Z", "")
        wanted = [row for row in a.rows if row["SystemModstamp"] >= least]
    done = at + SIZE >= len(wanted)
    more = {} if done else {"nextRecordsUrl": f"/services/data/v62.0/query/01gD0000002HU6KIAW-{at + SIZE}"}
    return {"totalSize": len(wanted), "done": done, **more, "records": wanted[at : at + SIZE]}, {}


def servicenow(a: Asked) -> Answer:
    assert a.path == "/api/now/table/incident"
    least, order = a.query["sysparm_query"].removeprefix("sys_updated_on>=").split("^", 1)
    assert order == "ORDERBYsys_updated_on^ORDERBYsys_id"
    wanted = [row for row in a.rows if row["sys_updated_on"] >= least]
    at = _at(a.query["sysparm_offset"])
    return {"result": wanted[at : at + SIZE]}, {}


def zendesk(a: Asked) -> Answer:
    assert a.path == "/api/v2/incremental/tickets/cursor.json"
    assert ("start_time" in a.query) != ("cursor" in a.query)
    at = int(a.query["cursor"][1:]) if "cursor" in a.query else 0
    after = min(at + SIZE, COUNT)
    told = {"after_cursor": f"c{after}", "after_url": f"{a.url}{a.path}?cursor=c{after}", "before_cursor": None}
    return {"tickets": a.rows[at:after], **told, "end_of_stream": after == COUNT}, {}


def hubspot(a: Asked) -> Answer:
    assert a.path == "/crm/v3/objects/contacts/search"
    (least, most, behind) = a.body["filterGroups"][0]["filters"]
    assert (least["operator"], most["operator"], behind["operator"]) == ("GTE", "LT", "GT")
    assert a.body["sorts"] == [{"propertyName": behind["propertyName"], "direction": "ASCENDING"}]
    assert "after" not in a.body, "it ends at 10,000 objects"
    asked = {"hs_object_id", "createdate", *a.body["properties"]}
    between = (int(least["value"]), int(most["value"]))
    changed = [r for n, r in enumerate(a.rows, 1) if between[0] <= epoch(n) * 1000 < between[1]]
    wanted = [r for r in changed if int(r["id"]) > int(behind["value"])]
    found = [{**r, "properties": {k: v for k, v in r["properties"].items() if k in asked}} for r in wanted[:SIZE]]
    more = {"paging": {"next": {"after": str(SIZE)}}} if len(wanted) > SIZE else {}
    return {"total": len(wanted), "results": found, **more}, {}


def stripe(a: Asked) -> Answer:
    assert a.path == "/v1/events"
    newest = [r for r in reversed(a.rows) if r["created"] >= int(a.query.get("created[gte]", 0))]
    after = a.query.get("starting_after")
    at = next((n + 1 for n, row in enumerate(newest) if row["id"] == after), 0)
    more = at + SIZE < len(newest)
    return {"object": "list", "url": a.path, "has_more": more, "data": newest[at : at + SIZE]}, {}


def slack(a: Asked) -> Answer:
    assert a.path == "/conversations.history"
    assert a.query["channel"] == "C012AB3CD"
    newest = [r for r in reversed(a.rows) if float(r["ts"]) >= float(a.query.get("oldest", 0))]
    at = int(a.query.get("cursor", "c0")[1:])
    more = at + SIZE < len(newest)
    following = {"response_metadata": {"next_cursor": f"c{at + SIZE}"}} if more else {}
    return {"ok": True, "messages": newest[at : at + SIZE], "has_more": more, "pin_count": 0, **following}, {}


def notion(a: Asked) -> Answer:
    assert a.path == "/v1/databases/d9824bdc-8445-4327-be8b-5b47500af6ce/query"
    least = a.body["filter"]["last_edited_time"]["on_or_after"]
    wanted = [row for row in a.rows if row["last_edited_time"] >= least]
    at = _at(a.body.get("start_cursor"))
    more = at + SIZE < len(wanted)
    told = {"object": "list", "has_more": more, "next_cursor": str(at + SIZE) if more else None}
    return {**told, "results": wanted[at : at + SIZE]}, {}


def confluence(a: Asked) -> Answer:
    assert a.path == "/wiki/api/v2/pages"
    newest = list(reversed(a.rows))
    at = _at(a.query.get("cursor"))
    more = {"next": f"{a.path}?cursor={at + SIZE}"} if at + SIZE < COUNT else {}
    return {"results": newest[at : at + SIZE], "_links": {"base": f"{a.url}/wiki", **more}}, {}


def pagerduty(a: Asked) -> Answer:
    assert a.path == "/incidents"
    wanted = [row for row in a.rows if a.query["since"] <= row["created_at"] < a.query["until"]]
    at = _at(a.query["offset"])
    told = {"limit": SIZE, "offset": at, "total": None, "more": at + SIZE < len(wanted)}
    return {"incidents": wanted[at : at + SIZE], **told}, {}


def okta(a: Asked) -> Answer:
    assert a.path == "/api/v1/users"
    if "after" in a.query:
        return _link(a, a.rows, "after")
    least = a.query["search"].removeprefix('lastUpdated ge "').rstrip('"')
    return _link(a, a.since("search", lambda row: str(row["lastUpdated"]), least), "after")


def shopify(a: Asked) -> Answer:
    assert a.path == "/admin/api/2025-01/orders.json"
    assert ("page_info" in a.query) != ("updated_at_min" in a.query)
    least = a.query.get("updated_at_min", "")
    rows, headers = _link(a, [row for row in a.rows if row["updated_at"] >= least], "page_info")
    return {"orders": rows}, headers


@dataclass(frozen=True)
class Vendor:
    """How a comb is tried: parameters, what proves who asks, and the fields that the comb adds to each record."""

    answer: Callable[[Asked], Answer]
    given: dict[str, Any]
    header: str
    proof: str
    secret: str = "token"
    stream: str = ""
    key: str = "id"
    adds: Mapping[str, Callable[[dict[str, Any]], Any]] = field(default_factory=dict)
    again: int = 1
    """Records that a second flight sees again: those at the mark."""


def _basic(user: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{TOKEN}".encode()).decode()


_MAIL = "reader@acme.example"
VENDORS: dict[str, Vendor] = {
    "noaa-weather-alerts": Vendor(noaa, {"severity": "Severe"}, "", "", "", "alerts", again=COUNT),
    "github-issues": Vendor(github, {"owner": "octocat", "repo": "Hello-World"}, "Authorization", f"Bearer {TOKEN}"),
    "jira-issues": Vendor(
        jira, {"email": _MAIL, "jql": "project = ED"}, "Authorization", _basic(_MAIL),
        adds={"updated": lambda row: row["fields"]["updated"]},
    ),
    "gitlab-issues": Vendor(gitlab, {"project": "diaspora/diaspora"}, "PRIVATE-TOKEN", TOKEN),
    "datadog-logs": Vendor(
        datadog, {"app_key": "app", "start": "2026-01-01T00:00:00Z", "step": "3d"}, "DD-API-KEY", TOKEN, "api_key",
        adds={"timestamp": lambda row: row["attributes"]["timestamp"]}, again=0,
    ),
    "salesforce-soql": Vendor(
        salesforce, {"client_id": "consumer"}, "Authorization", "Bearer 00Dx0000000BV7z!AR8", "client_secret",
        stream="Account", key="Id",
    ),
    "servicenow-table": Vendor(
        servicenow, {"user": "reader"}, "Authorization", _basic("reader"), "password", stream="incident", key="sys_id"
    ),
    "zendesk-tickets": Vendor(zendesk, {"email": _MAIL}, "Authorization", _basic(f"{_MAIL}/token"), again=0),
    "hubspot-contacts": Vendor(
        hubspot, {"start": "2026-01-01T00:00:00Z", "step": "4d"}, "Authorization", f"Bearer {TOKEN}", again=0
    ),
    "stripe-events": Vendor(stripe, {}, "Authorization", f"Bearer {TOKEN}", "key", "events"),
    "slack-messages": Vendor(
        slack, {"channel": "C012AB3CD"}, "Authorization", f"Bearer {TOKEN}", key="ts",
        adds={"channel": lambda _: "C012AB3CD"},
    ),
    "notion-database": Vendor(
        notion, {"database": "d9824bdc-8445-4327-be8b-5b47500af6ce"}, "Authorization", f"Bearer {TOKEN}"
    ),
    "confluence-pages": Vendor(
        confluence, {"email": _MAIL}, "Authorization", _basic(_MAIL),
        adds={"modified": lambda row: row["version"]["createdAt"]}, again=SIZE,
    ),
    "pagerduty-incidents": Vendor(
        pagerduty, {"start": "2026-01-01T00:00:00Z"}, "Authorization", f"Token token={TOKEN}", again=0
    ),
    "okta-users": Vendor(okta, {}, "Authorization", f"SSWS {TOKEN}"),
    "shopify-orders": Vendor(shopify, {}, "X-Shopify-Access-Token", TOKEN),
}  # fmt: skip


@dataclass
class World:
    """What one vendor's server was asked; `busy`: the number of the data request that is answered 429, once."""

    comb: str
    busy: int = 2
    statuses: list[int] = field(default_factory=list)


def app(comb: str) -> Starlette:
    """The server of one vendor; `app.state.world` is its World."""
    world, vendor = World(comb), VENDORS[comb]

    async def answered(request: Request) -> Response:
        raw = await request.body()
        url = f"http://{request.headers['host']}"
        if request.url.path == "/services/oauth2/token":
            right = TOKEN.encode() in raw and b"grant_type=client_credentials" in raw
            told = {"access_token": "00Dx0000000BV7z!AR8", "instance_url": url, "token_type": "Bearer"}
            return JSONResponse(told if right else {"error": "invalid_client"}, 200 if right else 400)
        if vendor.header and request.headers.get(vendor.header) != vendor.proof:
            world.statuses.append(401)
            return JSONResponse({"message": f"who is {request.headers.get(vendor.header)}?"}, 401)
        if len([s for s in world.statuses if s != 401]) + 1 == world.busy:
            world.statuses.append(429)
            return JSONResponse({}, 429, headers={"Retry-After": "3"})
        world.statuses.append(200)
        query, body = dict(request.query_params), json.loads(raw) if raw else None
        made, headers = vendor.answer(Asked(comb, url, request.url.path, query, body, records(comb)))
        return JSONResponse(made, headers=headers)

    made = Starlette(routes=[Route("/{path:path}", answered, methods=["GET", "POST"])])
    made.state.world = world
    return made
