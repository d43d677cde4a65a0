"""Which statements of a migration would hold up who works on a big table, and the way to do them right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import sqlparse

BIG: Final = frozenset(
    {
        "monitoring_execution",
        "monitoring_nodeexecution",
        "monitoring_executionkey",
        "monitoring_idempotencykey",
        "monitoring_rollup",
        "monitoring_noderollup",
        "monitoring_rollupdelta",
        "monitoring_errorgroup",
        "monitoring_event",
        "monitoring_signoflife",
        "scheduling_finding",
        "scheduling_scannedworkflow",
        "alerts_attempt",
        "alerts_incidentevent",
        "alerts_notification",
        "tenants_auditevent",
    }
)
"""Tables that grow with what is sent; their partitions (`…_20261116`, `…_hours`) count as they do."""

_TABLE: Final = r'(?:ONLY\s+)?(?:IF\s+EXISTS\s+)?(?:"?public"?\.)?"?(\w+)"?'
_VOLATILE: Final = (
    r"clock_timestamp|timeofday|random|gen_random_uuid|uuidv[47]|nextval"
    r"|GENERATED\s+(?:ALWAYS|BY)|SERIAL"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern whose first group is the table, and what to do instead.

    A second group is another table that makes the statement harmless when it is empty or checked.
    """

    pattern: re.Pattern[str]
    advice: str


def _rule(pattern: str, advice: str) -> Rule:
    return Rule(re.compile(pattern, re.IGNORECASE | re.DOTALL), advice)


_IN_STEPS: Final = (
    "rows are changed in steps of some seconds by a due row or the worker, not by the migration"
)
_ALTER: Final = rf"ALTER\s+TABLE\s+{_TABLE}\s.*?\b"
RULES: Final = (
    _rule(
        rf"CREATE\s+(?:UNIQUE\s+)?INDEX\s+(?!CONCURRENTLY)[^;]*?\sON\s+(?!ONLY){_TABLE}",
        "an index is made CONCURRENTLY (partitions one by one, then attached to one made ON ONLY the parent)",
    ),
    _rule(
        rf"{_ALTER}ALTER\s+(?:COLUMN\s+)?\S+\s+(?:SET\s+DATA\s+)?TYPE\b",
        "another type writes the table anew: add a column, fill it in steps, let the code read both",
    ),
    _rule(
        rf"{_ALTER}ADD\s+COLUMN\s[^;]*(?:{_VOLATILE})",
        "a default that differs by row writes the table anew: add the column without, fill it in steps",
    ),
    _rule(
        rf"{_ALTER}ADD\s+COLUMN\s[^;]*\bREFERENCES\b",
        "big tables have no foreign keys: they forbid to drop partitions, and are checked under a lock",
    ),
    _rule(
        rf"{_ALTER}ADD\s+CONSTRAINT\s(?![^;]*NOT\s+VALID)[^;]*(?:CHECK|FOREIGN\s+KEY)\b",
        "a constraint is added NOT VALID and validated in a migration after it",
    ),
    _rule(
        rf"{_ALTER}ADD\s+(?:CONSTRAINT\s+\S+\s+)?(?:UNIQUE|PRIMARY\s+KEY|EXCLUDE)\b(?!\s+USING\s+INDEX)",
        "make the unique index CONCURRENTLY, then ADD CONSTRAINT … USING INDEX",
    ),
    _rule(
        rf"{_ALTER}SET\s+(?:TABLESPACE|LOGGED|UNLOGGED|ACCESS\s+METHOD)\b",
        "this writes the table anew",
    ),
    _rule(rf"(?:UPDATE|DELETE\s+FROM|MERGE\s+INTO)\s+{_TABLE}\s", _IN_STEPS),
    _rule(rf"INSERT\s+INTO\s+{_TABLE}\s[^;]*\bSELECT\b", _IN_STEPS),
    _rule(
        rf"(?:VACUUM\s*\(?\s*FULL\)?|CLUSTER|TRUNCATE(?:\s+TABLE)?|LOCK(?:\s+TABLE)?|REINDEX\s+TABLE)\s+{_TABLE}",
        "this shuts everybody out",
    ),
)
_NOT_NULL: Final = _rule(
    rf"{_ALTER}ALTER\s+(?:COLUMN\s+)?\S+\s+SET\s+NOT\s+NULL\b",
    "add CHECK (… IS NOT NULL) NOT VALID, VALIDATE it in a migration after, then SET NOT NULL",
)
_ATTACHED: Final = _rule(
    rf"ALTER\s+TABLE\s+{_TABLE}\s+ATTACH\s+PARTITION\s+{_TABLE}",
    "all rows of what is attached are read: add a CHECK of its bounds NOT VALID, and VALIDATE it, before",
)
_VALIDATED: Final = re.compile(rf"{_ALTER}VALIDATE\s+CONSTRAINT\b", re.IGNORECASE | re.DOTALL)
_CREATED: Final = re.compile(
    rf"CREATE\s+(?:UNLOGGED\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{_TABLE}", re.IGNORECASE
)
_FUNCTION: Final = re.compile(
    r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE)\b", re.IGNORECASE
)


def troubles(sql: str) -> Iterator[str]:
    """Why the statements of one migration are not safe beside a million rows; nothing when they are.

    Tables that the migration itself makes are empty; bodies of functions are not run by it.
    """
    made: set[str] = set()
    validated: set[str] = set()
    for statement in sqlparse.split(sqlparse.format(sql, strip_comments=True)):
        if _FUNCTION.match(statement):
            continue
        made.update(found.lower() for found in _CREATED.findall(statement))
        validated.update(found.lower() for found in _VALIDATED.findall(statement))
        for rule in RULES:
            yield from _found(rule, statement, made)
        for rule in (_NOT_NULL, _ATTACHED):
            yield from _found(rule, statement, made | validated)


def _found(rule: Rule, statement: str, harmless: set[str]) -> Iterator[str]:
    for match in rule.pattern.finditer(statement):
        tables = [table.lower() for table in match.groups()]
        if _is_big(tables[0]) and harmless.isdisjoint(tables):
            yield f"{' '.join(statement.split())[:200]} – {rule.advice}"


def _is_big(table: str) -> bool:
    return re.sub(r"_(?:\d{8}|archive|fiveminutes|hours|days)$", "", table) in BIG
