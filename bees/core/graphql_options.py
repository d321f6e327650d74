"""Options of the `graphql` connector: the API, its queries, and the connections in their answers."""

from __future__ import annotations

from pydantic import Field, JsonValue, field_validator, model_validator

from bees.core.bee import BeeOptions, KeyColumns, Name, StreamName
from bees.core.errors import GiveUp
from bees.core.graphql import Asked, BadQuery, parse
from bees.core.graphql import Field as AskedField
from bees.core.http import checked_url
from bees.core.rest.client import HttpOptions


class Connected(BeeOptions):
    """A query and the connection in its answer."""

    query: str = Field(description="one query, with a variable for the place to go on from: after: $after")
    connection: Name = Field(description="dotted path to the connection or list, such as desk.tickets")
    after_variable: Name = Field("after", description="variable that takes endCursor")

    @field_validator("query")
    @classmethod
    def _readable(cls, value: str) -> str:
        try:
            parse(value)
        except BadQuery as error:
            raise ValueError(f"no query: {error}") from None
        return value

    @model_validator(mode="after")
    def _pages(self) -> Connected:
        found = self.asked.at(self.connection)
        if found is None:
            raise ValueError(f"the query asks for nothing at '{self.connection}' (option connection)")
        if found.selection.keys() & {"nodes", "edges"}:
            info = found.selection.get("pageInfo")
            if info is None or not {"hasNextPage", "endCursor"} <= info.selection.keys():
                raise ValueError(f"'{self.connection}' must ask for pageInfo {{ hasNextPage endCursor }}")
            if self.after_variable not in self.asked.variables:
                raise ValueError(f"the query must use ${self.after_variable}, or it reads one page for ever")
        return self

    @property
    def asked(self) -> Asked:
        return parse(self.query)

    @property
    def list_name(self) -> str:
        """The field of the connection that is the list: `nodes` or `edges`; empty where it is itself a list."""
        found = self.asked.at(self.connection)
        return next((name for name in ("nodes", "edges") if found and name in found.selection), "")

    @property
    def node_path(self) -> str:
        """Dotted path to what is asked of each record."""
        inside = {"nodes": ".nodes", "edges": ".edges.node"}
        return self.connection + inside.get(self.list_name, "")

    @property
    def node(self) -> AskedField:
        """What is asked of each record."""
        return self.asked.at(self.node_path) or AskedField("")


class Nested(Connected):
    """A connection inside of each record, whose further pages are read by a query of its own."""

    parent_field: Name = Field("id", description="field of the record that the variable takes")
    parent_variable: Name = Field("id", description="variable that names the record")

    @model_validator(mode="after")
    def _of_parent(self) -> Nested:
        if self.parent_variable not in self.asked.variables:
            raise ValueError(f"the query must use ${self.parent_variable} (option parent_variable)")
        return self


class StreamOptions(Connected):
    """One connection of the API."""

    variables: dict[Name, JsonValue] = Field(default_factory=dict, description="values of the query's other variables")
    key: KeyColumns = Field((), description="field or fields that identify a record")
    cursor: Name | None = Field(None, description="field that only grows, such as updatedAt")
    cursor_variable: Name | None = Field(None, description="variable that takes the highest cursor seen so far")
    lookback: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="cursor_variable begins so far before it: seconds, or steps"
    )
    nested: dict[Name, Nested] = Field(
        default_factory=dict, description="connections inside of a record, by dotted path; each becomes a list"
    )

    @model_validator(mode="after")
    def _whole(self) -> StreamOptions:
        if self.cursor_variable and not self.cursor:
            raise ValueError("cursor_variable needs cursor: the field whose highest value it takes")
        if self.cursor_variable and self.cursor_variable not in self.asked.variables:
            raise ValueError(f"the query must use ${self.cursor_variable} (option cursor_variable)")
        unknown = sorted(self.variables.keys() - self.asked.variables)
        if unknown:
            raise ValueError(f"the query has no variable ${unknown[0]}")
        needed = [*self.key, *([self.cursor] if self.cursor else []), *self.nested]
        needed += [nested.parent_field for nested in self.nested.values()]
        missing = [path for path in needed if not _selected(self.node, path)]
        if missing:
            raise ValueError(f"the query does not ask for '{missing[0]}' of each record")
        return self


class GraphqlOptions(HttpOptions):
    url: str = Field(description="address that takes the queries, such as https://api.example.com/graphql")
    introspect: bool = Field(True, description="ask the API for the types of what the queries read")
    max_pages: int = Field(1_000_000, gt=0, description="pages of one pass; a connection with more never ends")
    streams: dict[StreamName, StreamOptions] = Field(min_length=1, description="what to read, by name")

    @field_validator("url")
    @classmethod
    def _address(cls, value: str) -> str:
        try:
            checked_url(value)
        except GiveUp as error:
            raise ValueError(str(error)) from None
        return value


def _selected(node: AskedField, path: str) -> bool:
    found: AskedField | None = node
    for part in path.split("."):
        found = found.selection.get(part) if found else None
    return found is not None
