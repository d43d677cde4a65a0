"""What waits to be sent, and the sum that always holds: accepted = sent + waiting + dead + dropped."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import TypeVar

_T = TypeVar("_T")

_ADD = "INSERT INTO outbox (execution_id, node_row) VALUES (?, ?)"
_COUNT = (
    "INSERT INTO counters (name, value) VALUES (?, ?)"
    " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value"
)
_AT_ONCE = 500
"""SQLite takes 999 parameters or more."""


@dataclasses.dataclass(frozen=True)
class Counts:
    """Records: `accepted` = `sent` + `waiting` + `dead` + `dropped`."""

    accepted: int
    sent: int
    waiting: int
    dead: int
    dropped: int


@dataclasses.dataclass(frozen=True)
class Waiting:
    """One record: of an execution itself (`node_row` None) or of one of its nodes."""

    seq: int
    execution_id: str
    node_row: int | None


def waiting(connection: sqlite3.Connection, *, after: int, most: int) -> list[Waiting]:
    """Records that wait, oldest first."""
    found = connection.execute(
        "SELECT seq, execution_id, node_row FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?",
        (after, most),
    )
    return [Waiting(*each) for each in found]


def last_waiting(connection: sqlite3.Connection) -> int:
    """The newest record that waits; 0 when none does."""
    found: tuple[int | None] = connection.execute("SELECT max(seq) FROM outbox").fetchone()
    return found[0] or 0


def add(connection: sqlite3.Connection, execution_id: str, node_row: int | None) -> None:
    connection.execute(_ADD, (execution_id, node_row))


def drop(connection: sqlite3.Connection, execution_ids: Sequence[str]) -> int:
    """Forget what waits or was refused of executions, and count it; how many records."""
    dropped = 0
    for ids in _parts(execution_ids):
        for table in ("outbox", "dead_letters"):
            dropped += connection.execute(
                f"DELETE FROM {table} WHERE execution_id IN ({_marks(ids)})", ids
            ).rowcount
    count(connection, "dropped", dropped)
    return dropped


@dataclasses.dataclass
class Held:
    """The records of one execution that are in the file."""

    waiting: list[int] = dataclasses.field(default_factory=list)
    refused: list[int] = dataclasses.field(default_factory=list)


def held(connection: sqlite3.Connection, execution_ids: Sequence[str]) -> dict[str, Held]:
    """What executions (500 at most) still have to send or had refused; those that have any."""
    found: dict[str, Held] = {}
    for table in ("outbox", "dead_letters"):
        for seq, execution_id in connection.execute(
            f"SELECT seq, execution_id FROM {table} WHERE execution_id IN ({_marks(execution_ids)})",
            execution_ids,
        ):
            of_it = found.setdefault(execution_id, Held())
            (of_it.waiting if table == "outbox" else of_it.refused).append(seq)
    return found


def drop_held(connection: sqlite3.Connection, records: Held) -> int:
    """Forget these, and count them; how many."""
    dropped = sum(_remove(connection, part) for part in _parts(records.waiting))
    for part in _parts(records.refused):
        dropped += connection.execute(
            f"DELETE FROM dead_letters WHERE seq IN ({_marks(part)})", part
        ).rowcount
    count(connection, "dropped", dropped)
    return dropped


def count(connection: sqlite3.Connection, name: str, more: int) -> None:
    if more:
        connection.execute(_COUNT, (name, more))


def sent(connection: sqlite3.Connection, seqs: Iterable[int]) -> None:
    """Records that an answer named as stored. Those that are gone already were counted by others."""
    count(connection, "sent", sum(_remove(connection, part) for part in _parts(seqs)))


def refused(connection: sqlite3.Connection, seqs: Iterable[int], reason: str) -> None:
    """Records that the server refused for good, listed with what it said."""
    now = datetime.now(timezone.utc).isoformat()
    for part in _parts(seqs):
        connection.execute(
            "INSERT OR IGNORE INTO dead_letters (seq, execution_id, node_row, reason, refused_at)"
            f" SELECT seq, execution_id, node_row, ?, ? FROM outbox WHERE seq IN ({_marks(part)})",
            (reason, now, *part),
        )
        _remove(connection, part)


def retry(connection: sqlite3.Connection, execution_id: str | None = None) -> int:
    """Let what was refused, of one execution or of all, wait to be sent again; how many records."""
    where, values = (
        ("", ()) if execution_id is None else (" WHERE execution_id = ?", (execution_id,))
    )
    connection.execute(
        "INSERT INTO outbox (seq, execution_id, node_row)"
        f" SELECT seq, execution_id, node_row FROM dead_letters{where}",
        values,
    )
    return connection.execute(f"DELETE FROM dead_letters{where}", values).rowcount


def forget(connection: sqlite3.Connection, seqs: Iterable[int]) -> None:
    """Records whose rows are not in the file any more: dropped."""
    count(connection, "dropped", sum(_remove(connection, part) for part in _parts(seqs)))


def told(connection: sqlite3.Connection) -> int:
    """The latest time that a message told as its own; microseconds since 1970."""
    found = connection.execute("SELECT value FROM counters WHERE name = 'told_at'").fetchone()
    return found[0] if found else 0


def tell(connection: sqlite3.Connection, moment: int) -> None:
    connection.execute(
        "INSERT INTO counters (name, value) VALUES ('told_at', ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (moment,),
    )


def note_trouble(connection: sqlite3.Connection, text: str | None) -> None:
    """Keep what kept records from being sent, with the time, for whoever asks; None: nothing does."""
    connection.execute("DELETE FROM notes WHERE name = 'trouble'")
    if text is not None:
        connection.execute(
            "INSERT INTO notes (name, text, at) VALUES ('trouble', ?, ?)",
            (text, datetime.now(timezone.utc).isoformat(timespec="microseconds")),
        )


def noted_trouble(connection: sqlite3.Connection) -> tuple[str, str] | None:
    """What keeps records from being sent, and since when."""
    found: tuple[str, str] | None = connection.execute(
        "SELECT text, at FROM notes WHERE name = 'trouble'"
    ).fetchone()
    return found


def counts(connection: sqlite3.Connection) -> Counts:
    """All five numbers, of one moment when read in one transaction."""
    counted = dict(connection.execute("SELECT name, value FROM counters").fetchall())
    accepted = connection.execute(
        "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'"
    ).fetchone()
    (waiting,) = connection.execute("SELECT count(*) FROM outbox").fetchone()
    (dead,) = connection.execute("SELECT count(*) FROM dead_letters").fetchone()
    return Counts(
        accepted=accepted[0] if accepted else 0,
        sent=counted.get("sent", 0),
        waiting=waiting,
        dead=dead,
        dropped=counted.get("dropped", 0),
    )


def _remove(connection: sqlite3.Connection, seqs: list[int]) -> int:
    return connection.execute(f"DELETE FROM outbox WHERE seq IN ({_marks(seqs)})", seqs).rowcount


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _parts(values: Iterable[_T]) -> Iterable[list[_T]]:
    all_of_them = list(values)
    for start in range(0, len(all_of_them), _AT_ONCE):
        yield all_of_them[start : start + _AT_ONCE]
