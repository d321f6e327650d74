"""Why a query is not run.

Codes are stable words, to count and to test by:

too_long            more than 64 KiB
not_text            no text, or text that UTF-8 cannot hold
control_character   a character such as NUL, which one reader skips and another does not
hidden_code         a comment that the server runs: /*! */, /*M! */, or a hint that sets a variable
syntax              not understood
too_deep            nested deeper than any reader follows
no_statement        nothing but space and comments
many_statements     more than one
wrong_root          a statement that is no read
data_change         INSERT, UPDATE, DELETE or MERGE inside of a read
into                SELECT INTO a table, a file or a variable
locking             FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE
assignment          a user variable is set
construct           a part of the language that is not on the list of harmless ones
function            a function that is not on the list
operator            an operator that is not PostgreSQL's own
parameter           %s or %(name)s: parameters are written $1
catalog             a table of the server's own
table               a table that is not on the list
print_differs       the text printed from the tree does not say the same
parsers_disagree    a second parser sees other tables or functions

Of row filters:

unknown_table       a table, view or catalog without a filter
bad_filter_key      a key that is no table, or names one twice
bad_filter          a filter that is not one expression over its table
filter_cycle        filters that need each other
table_sample        TABLESAMPLE, which would draw from hidden rows
system_column       ctid, xmin, _rowid and the like, of a table with a filter
group_by_key        all columns of a table that is grouped by its key
ambiguous_column    schema.table.column where `table` may mean another thing
ambiguous_table     a name that is a WITH to one server and a table to another
unknown_dialect     neither postgres nor mysql
not_proved          the rewritten query failed its own check
"""

from __future__ import annotations

from bees.core.errors import GiveUp


class SecurityViolation(GiveUp):
    """A query that is not run: `code` is a stable word, `where` the place in the query or the filter that is meant."""

    code = "refused"

    def __init__(self, message: str, *, code: str | None = None, where: str = "", advice: str = "") -> None:
        super().__init__(message, code=code, where=where, advice=advice or "write one plain SELECT")

    def within(self, field: str) -> SecurityViolation:
        """The same, with the field of a configuration before the place."""
        where = ", ".join(filter(None, (field, self.where)))
        return SecurityViolation(str(self.args[0]), code=self.code, where=where, advice=self.advice)
