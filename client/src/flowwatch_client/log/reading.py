"""Questions to the log beyond one execution: filters, new ones, what it holds and weighs."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from flowwatch_client.log import outbox
from flowwatch_client.log.disk import DROPPED_FOR_ROOM, log_bytes
from flowwatch_client.log.log import EXECUTION_COLUMNS, Log, delete_executions, read_nodes
from flowwatch_client.rows import UNFINISHED, ExecutionRow, NodeRow

_SELECT = f"SELECT {', '.join(EXECUTION_COLUMNS)}, rowid FROM executions"
_LAST_LETTER = chr(0x10FFFF)
_COUNTER = "SELECT coalesce(sum(value), 0) FROM counters WHERE name = ?"
_PAGE = 200
_AT_ONCE = 500
"""SQLite takes 999 parameters or more."""
_OPEN = ", ".join(f"'{status}'" for status in UNFINISHED)


@dataclasses.dataclass(frozen=True)
class Filter:
    """Which executions; times as the log keeps them. None does not narrow."""

    workflow: str | None = None
    """Its id or its name."""
    workflow_id: str | None = None
    status: str | None = None
    since: str | None = None
    before: str | None = None

    def conditions(self) -> tuple[list[str], list[object]]:
        """SQL conditions, to be joined by AND, and their values."""
        parts = {
            "(workflow_id = ? OR workflow_name = ?)": self.workflow,
            "workflow_id = ?": self.workflow_id,
            "status = ?": self.status,
            "started_at >= ?": self.since,
            "started_at < ?": self.before,
        }
        said = {part: value for part, value in parts.items() if value is not None}
        return list(said), [value for part, value in said.items() for _ in range(part.count("?"))]


def find(log: Log, wanted: Filter, *, limit: int = 50, offset: int = 0) -> list[ExecutionRow]:
    """Executions, the latest start first. Raises sqlite3.Error."""
    conditions, values = wanted.conditions()
    with log.connection.reading() as connection:
        return [
            row
            for row, _ in _rows(
                connection,
                conditions,
                [*values, limit, offset],
                "ORDER BY started_at DESC, id DESC LIMIT ? OFFSET ?",
            )
        ]


def iterate(log: Log, wanted: Filter) -> Iterator[tuple[ExecutionRow, list[NodeRow]]]:
    """All of them with their nodes, in the order of their starts, a page in memory at a time.

    The log is free between pages: writers and the caller's own pace don't wait for each other.
    """
    conditions, values = wanted.conditions()
    after: list[object] = []
    while True:
        more = [*conditions, "(started_at, id) > (?, ?)"] if after else conditions
        with log.connection.reading() as connection:
            page = [
                (row, nodes_of(connection, row.id))
                for row, _ in _rows(
                    connection, more, [*values, *after, _PAGE], "ORDER BY started_at, id LIMIT ?"
                )
            ]
        yield from page
        if len(page) < _PAGE:
            return
        after = [page[-1][0].started_at, page[-1][0].id]


def delete(log: Log, wanted: Filter) -> int:
    """Delete them, as many at a time as keep no writer waiting; how many there were."""
    conditions, values = wanted.conditions()
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    deleted = 0
    while True:
        with log.connection.transaction() as connection:
            ids = connection.execute(
                f"SELECT id FROM executions {where} LIMIT ?", [*values, _PAGE]
            ).fetchall()
            deleted += delete_executions(connection, [each for (each,) in ids])
        if len(ids) < _PAGE:
            return deleted


def ids_beginning(log: Log, prefix: str, *, most: int = 10) -> list[str]:
    """Ids of executions that begin so, sorted; the exact one alone when there is one."""
    with log.connection.reading() as connection:
        found = connection.execute(
            "SELECT id FROM executions WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",
            (prefix, prefix + _LAST_LETTER, most),
        ).fetchall()
    ids = [each for (each,) in found]
    return [prefix] if prefix in ids else ids


class Follower:
    """Sees executions that begin or change, from when it is made on."""

    def __init__(self, log: Log, wanted: Filter) -> None:
        self._log = log
        self._wanted = wanted
        with log.connection.reading() as connection:
            self._last = self._newest(connection)
            self._seen: dict[str, str] = dict(
                connection.execute(
                    f"SELECT id, status FROM executions WHERE rowid = ? OR status IN ({_OPEN})",
                    (self._last,),
                )
            )

    @staticmethod
    def _newest(connection: sqlite3.Connection) -> int:
        (newest,) = connection.execute("SELECT coalesce(max(rowid), 0) FROM executions").fetchone()
        return int(newest)

    def _changes(self, connection: sqlite3.Connection) -> list[tuple[ExecutionRow, int]]:
        """What began since, and what was not finished at the last look.

        The newest row is looked at again: SQLite gives its number to another when it was deleted.
        """
        running = [each for each, status in self._seen.items() if status in UNFINISHED]
        found = {
            row.id: (row, at) for row, at in self._those(connection, "rowid >= ?", [self._last])
        }
        for start in range(0, len(running), _AT_ONCE):
            ids = running[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(ids))
            for row, at in self._those(connection, f"id IN ({marks})", ids):
                found[row.id] = row, at
        return sorted(found.values(), key=lambda each: each[1])

    def _those(
        self, connection: sqlite3.Connection, condition: str, of_it: Sequence[object]
    ) -> list[tuple[ExecutionRow, int]]:
        conditions, values = self._wanted.conditions()
        return _rows(connection, [*conditions, condition], [*values, *of_it], "")

    def look(self) -> list[ExecutionRow]:
        """Executions that began or ended since the last look. Raises sqlite3.Error."""
        with self._log.connection.reading() as connection:
            newest = self._newest(connection)
            self._last = min(self._last, newest)
            found = self._changes(connection)
        changed = [row for row, _ in found if self._seen.get(row.id) != row.status]
        self._seen = {row.id: row.status for row, _ in found}
        self._last = newest
        return changed


@dataclasses.dataclass(frozen=True)
class Refusals:
    """Records that the server refused for the same reason."""

    reason: str
    records: int
    executions: int
    oldest: str


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a log holds, at one moment."""

    counts: outbox.Counts
    dropped_for_room: int
    """Of the dropped ones, those that the bound on the log's size dropped."""
    lost: int
    executions: dict[str, int]
    """By status."""
    nodes: int
    oldest: str | None
    newest: str | None
    oldest_waiting: str | None
    """Start of the execution whose record waits longest."""
    refusals: list[Refusals]
    bytes: int
    free_bytes: int
    """Of these, room of what was deleted, which is used again."""

    @property
    def holds(self) -> bool:
        """Whether accepted = sent + waiting + dead + dropped."""
        counts = self.counts
        return counts.accepted == counts.sent + counts.waiting + counts.dead + counts.dropped


def summary(log: Log) -> Summary:
    """Count everything. Raises sqlite3.Error."""
    with log.connection.reading() as connection:
        one = _One(connection)
        page = one("PRAGMA page_size")
        return Summary(
            counts=outbox.counts(connection),
            dropped_for_room=one(_COUNTER, DROPPED_FOR_ROOM),
            lost=one(_COUNTER, "lost"),
            executions=dict(
                connection.execute("SELECT status, count(*) FROM executions GROUP BY 1 ORDER BY 1")
            ),
            nodes=one("SELECT count(*) FROM node_executions"),
            oldest=one("SELECT min(started_at) FROM executions"),
            newest=one("SELECT max(started_at) FROM executions"),
            oldest_waiting=one(
                "SELECT (SELECT started_at FROM executions WHERE id = execution_id)"
                " FROM outbox ORDER BY seq LIMIT 1"
            ),
            refusals=_refusals(connection),
            bytes=log_bytes(log),
            free_bytes=one("PRAGMA freelist_count") * page,
        )


def _refusals(connection: sqlite3.Connection) -> list[Refusals]:
    return [
        Refusals(*each)
        for each in connection.execute(
            "SELECT reason, count(*), count(DISTINCT execution_id), min(refused_at)"
            " FROM dead_letters GROUP BY reason ORDER BY 2 DESC, 1"
        )
    ]


def nodes_of(connection: sqlite3.Connection, execution_id: str) -> list[NodeRow]:
    return read_nodes(connection, "WHERE execution_id = ? ORDER BY id", (execution_id,))


def _rows(
    connection: sqlite3.Connection, conditions: Sequence[str], values: Sequence[object], rest: str
) -> list[tuple[ExecutionRow, int]]:
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    return [
        (ExecutionRow(**dict(zip(EXECUTION_COLUMNS, each[:-1], strict=True))), each[-1])
        for each in connection.execute(f"{_SELECT} {where} {rest}", values)
    ]


class _One:
    """The first column of a statement's first row, or None."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __call__(self, statement: str, *values: object) -> Any:
        row = self._connection.execute(statement, values).fetchone()
        return None if row is None else row[0]
