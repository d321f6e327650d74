"""Words of MySQL and MariaDB, sorted by what they mean to the guard: in upper case, names of schemas in lower."""

from __future__ import annotations

CATALOGS = {"mysql", "information_schema", "performance_schema", "sys", "ndbinfo"}
QUERIES = {"SELECT", "WITH", "VALUES", "TABLE"}
SETS = {"UNION", "EXCEPT", "INTERSECT", "MINUS"}
JOINS = {"JOIN", "INNER", "CROSS", "LEFT", "RIGHT", "NATURAL", "STRAIGHT_JOIN"}
CLAUSES = {"WHERE", "GROUP", "HAVING", "WINDOW", "ORDER", "LIMIT"}
HINTS = {"USE", "FORCE", "IGNORE"}

_MODIFIERS = """
    ALL DISTINCT DISTINCTROW HIGH_PRIORITY STRAIGHT_JOIN SQL_SMALL_RESULT SQL_BIG_RESULT SQL_BUFFER_RESULT SQL_NO_CACHE
    SQL_CACHE SQL_CALC_FOUND_ROWS
"""
MODIFIERS = frozenset(_MODIFIERS.split())

# Reserved words that begin another deed, with the code of their refusal; anywhere but after a dot they end the reading.
ACTS = {
    "UPDATE": "data_change",
    "DELETE": "data_change",
    "INSERT": "data_change",
    "REPLACE": "data_change",
    "INTO": "into",
    "LOCK": "locking",
    "FOR": "locking",
    "PROCEDURE": "construct",
    "SET": "construct",
}
_RESERVED = """
    ALTER ANALYZE CALL CREATE DESCRIBE DROP EXPLAIN FORCE FOREIGN GRANT IGNORE INDEX INFILE KEYS KILL LATERAL LOAD
    OPTIMIZE OUTER OUTFILE PURGE RECURSIVE RENAME RESIGNAL REVOKE SELECT SIGNAL TABLE TRIGGER UNLOCK USE WITH WRITE
"""
RESERVED = frozenset(_RESERVED.split()) | set(ACTS)
_NO_ALIAS = "FETCH OFFSET ON USING FROM AS PARTITION AND OR BY"
NOT_ALIAS = RESERVED | JOINS | SETS | CLAUSES | set(_NO_ALIAS.split())

# What may stand before a bracket without being called: reserved words, so that no stored function has such a name.
_BEFORE_BRACKET = """
    ALL AND AS BETWEEN BIGINT BINARY BY CASE CHAR CHARACTER DEC DECIMAL DISTINCT DISTINCTROW DIV DOUBLE ELSE EXISTS
    FLOAT FOR FROM GROUP HAVING IN INT INTEGER INTERVAL IS LIKE LIMIT MEDIUMINT NOT NUMERIC ON OR OVER REAL REGEXP RLIKE
    ROW SEPARATOR SMALLINT THEN TINYINT USING VALUES VARBINARY VARCHAR WHEN WHERE XOR
"""
BEFORE_BRACKET = frozenset(_BEFORE_BRACKET.split())
# Calls with FROM between their brackets.
WITH_FROM = {"trim", "substring", "substr", "mid", "extract"}
# Others are no calls only behind these.
_COMPARISONS = {"=", "<", ">", "<=", ">=", "<>", "!="}
AFTER = {"OF": {"MEMBER"}, "ANY": _COMPARISONS, "SOME": _COMPARISONS}
# And these only as types, in CAST and its like.
TYPES = {"DATETIME", "TIME", "TIMESTAMP", "DATE", "YEAR", "TEXT", "BIT", "NCHAR", "NVARCHAR", "BLOB", "COLUMNS"}

# What SHOW may show, and the words of which one must follow. Left out is what tells of other sessions (PROCESSLIST,
# ENGINE ... STATUS), of other users, and of the log of changes and who follows it.
_OF_NO_TABLE = """
    VARIABLES STATUS WARNINGS ERRORS COLLATION CHARSET ENGINES PLUGINS PRIVILEGES PROFILES LOCALES GRANTS
"""
_SHOWN = "TABLES COLUMNS FIELDS DATABASES SCHEMAS INDEX INDEXES KEYS TRIGGERS EVENTS"
SHOWN: dict[str, set[str]] = {word: set() for word in f"{_SHOWN} {_OF_NO_TABLE}".split()}
SHOWN |= {"TABLE": {"STATUS"}, "OPEN": {"TABLES"}, "CHARACTER": {"SET"}, "STORAGE": {"ENGINES"}}
_CREATED = "TABLE VIEW DATABASE SCHEMA PROCEDURE FUNCTION PACKAGE TRIGGER EVENT SEQUENCE"
SHOWN["CREATE"] = set(_CREATED.split())
SHOWN |= {"FUNCTION": {"STATUS"}, "PROCEDURE": {"STATUS"}, "PACKAGE": {"STATUS", "BODY"}}
SHOWN_OF_NO_TABLE = frozenset(_OF_NO_TABLE.split()) | {"CHARACTER", "STORAGE"}
