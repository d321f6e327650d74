"""Issues that a JQL query finds, those that changed since the last flight, as `JIRA` in other systems' files.

    type: jira
    source: {base_url: https://acme.atlassian.net, email: me@acme.com, api_token: "${JIRA_TOKEN}", jql: project = SEC}

With `email`, and at any address under atlassian.net, it is Jira Cloud (API token, /rest/api/3/search/jql), otherwise
Jira Data Center (personal access token, /rest/api/2/search). The Cloud takes a token only together with its account:
without `email` (or a token written as `me@acme.com:token`) nothing is asked.
https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-search/ and
https://developer.atlassian.com/server/jira/platform/rest/; the comb `jira-issues` says the same of the Cloud in YAML.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import httpx
from pydantic import Field, SecretStr

from bees.core.errors import GiveUp
from bees.core.rest.client import HttpOptions
from bees.core.rest.declared import DeclaredBee
from nectar.batch import Batch, Cursor


class JiraOptions(HttpOptions):
    base_url: str = Field(description="address of the site, such as https://acme.atlassian.net")
    api_token: SecretStr | None = Field(None, description="the token of the account that reads; none for an open site")
    email: str = Field("", description="that account; Jira Cloud takes no token without it")
    jql: str = Field("project is not EMPTY", description="which issues; without ORDER BY")
    start: str = Field("2000-01-01T00:00:00Z", description="the first flight reads what changed since then")

    @property
    def cloud(self) -> bool:
        host = httpx.URL(self.base_url).host.lower().rstrip(".")
        return bool(self.account[0]) or host.endswith(".atlassian.net")

    @property
    def account(self) -> tuple[str, SecretStr | None]:
        """Who asks, and the token; the name may stand in front of the token."""
        token = self.api_token.get_secret_value() if self.api_token else ""
        name, colon, rest = token.partition(":")
        if not self.email and colon and "@" in name:
            return name, SecretStr(rest)
        return self.email, self.api_token


class JiraBee(DeclaredBee):
    """Reads issues in the order of their last change."""

    bee_type = "api"
    Options = JiraOptions

    def declared(self) -> dict[str, Any]:
        given: JiraOptions = self.options
        cloud = {
            "path": "/rest/api/3/search/jql",
            "pagination": {
                "type": "cursor", "cursor_path": "nextPageToken", "cursor_param": "nextPageToken",
                "done_path": "isLast", "size": 100, "size_param": "maxResults",
            },
        }  # fmt: skip
        center = {
            "path": "/rest/api/2/search",
            "pagination": {
                "type": "offset", "offset_param": "startAt", "total_path": "total", "size": 100,
                "size_param": "maxResults",
            },
        }  # fmt: skip
        # In a variable: braces of the query's own are no places of a template.
        jql = "({{ config.jql }}) AND updated >= {{ state.since }} ORDER BY updated ASC"
        issues = {
            **(cloud if given.cloud else center),
            "params": {"jql": jql, "fields": "*navigable"},
            "records": "issues",
            "fields": {"updated": "{{ record.fields.updated }}"},
            "key": "id",
            "cursor": "updated",
            "cursor_format": "epoch_ms",
            "start": given.start,
            "lookback": 60,
        }
        told: dict[str, Any] = {
            "base_url": given.base_url,
            "variables": {"jql": given.jql},
            "streams": {"issues": issues},
        }
        email, token = given.account
        if token:
            basic = {"method": "basic", "username": email, "password": token}
            told["auth"] = basic if email else {"method": "bearer", "token": token}
        return told

    def validate_flight_path(self) -> None:
        self._check()
        super().validate_flight_path()

    def collect_nectar(
        self,
        stream: str,
        cursor: Cursor | None,
        slice: str | None = None,  # noqa: A002
        query: Mapping[str, Any] | None = None,
    ) -> Iterator[Batch]:
        self._check()
        yield from super().collect_nectar(stream, cursor, slice, query)

    def _check(self) -> None:
        given: JiraOptions = self.options
        email, token = given.account
        if given.cloud and token and not email:
            message = "Jira Cloud takes a token only together with the account that it belongs to"
            raise GiveUp(message, code="no_email", where="email", advice="set email, as the account logs in")
