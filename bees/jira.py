"""Issues that a JQL query finds, those that changed since the last flight, as `JIRA` in other systems' files.

    type: jira
    source: {base_url: https://acme.atlassian.net, email: me@acme.com, api_token: "${JIRA_TOKEN}", jql: project = SEC}

With `email` it is Jira Cloud (API token, /rest/api/3/search/jql), without it Jira Data Center (personal access token,
/rest/api/2/search). https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-search/ and
https://developer.atlassian.com/server/jira/platform/rest/; the comb `jira-issues` says the same of the Cloud in YAML.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, SecretStr

from bees.core.rest.client import HttpOptions
from bees.core.rest.declared import DeclaredBee


class JiraOptions(HttpOptions):
    base_url: str = Field(description="address of the site, such as https://acme.atlassian.net")
    api_token: SecretStr | None = Field(None, description="the token of the account that reads; none for an open site")
    email: str = Field("", description="that account, on Jira Cloud")
    jql: str = Field("project is not EMPTY", description="which issues; without ORDER BY")
    start: str = Field("2000-01-01T00:00:00Z", description="the first flight reads what changed since then")


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
            **(cloud if given.email else center),
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
        if given.api_token:
            basic = {"method": "basic", "username": given.email, "password": given.api_token}
            told["auth"] = basic if given.email else {"method": "bearer", "token": given.api_token}
        return told
