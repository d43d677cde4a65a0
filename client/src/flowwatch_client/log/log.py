"""The log as its users see it: write rows, read executions, delete, and what waits to be sent."""

from __future__ import annotations

import dataclasses
import operator
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flowwatch_client.log import outbox
from flowwatch_client.log.connection import IN_MEMORY, Connection
from flowwatch_client.log.incoming import plain_scrubber, rows_of
from flowwatch_client.rows import ExecutionRow, NodeRow, Row
from flowwatch_client.secret_rules import Scrubber

EXECUTION_COLUMNS = tuple(field.name for field in dataclasses.fields(ExecutionRow))
_NODE_COLUMNS = tuple(
    field.name for field in dataclasses.fields(NodeRow) if field.name not in ("row_id", "run_index")
)


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _marks(count: int) -> str:
    return ", ".join("?" * count)


# An execution that is written again keeps its nodes: REPLACE would delete the row, and cascade.
_PUT_EXECUTION = (
    f"INSERT INTO executions ({_list(EXECUTION_COLUMNS)})"
    f" VALUES ({_marks(len(EXECUTION_COLUMNS))})"
    f" ON CONFLICT (id) DO UPDATE SET"
    f" {_list(f'{name} = excluded.{name}' for name in EXECUTION_COLUMNS if name != 'id')}"
)
_NEXT_RUN = (
    "(SELECT coalesce(max(run_index) + 1, 0) FROM node_executions"
    " WHERE execution_id = ? AND node_id = ?)"
)
_ADD_NODE = (
    f"INSERT INTO node_executions ({_list(_NODE_COLUMNS)}, run_index)"
    f" VALUES ({_marks(len(_NODE_COLUMNS))}, coalesce(?, {_NEXT_RUN}))"
)
_CHANGE_NODE = (
    f"UPDATE node_executions SET {_list(f'{name} = ?' for name in _NODE_COLUMNS)}"
    " WHERE id = ? AND execution_id = ? AND node_id = ?"  # in another file another node has its id
)
_EXECUTION_OF = f"SELECT {_list(EXECUTION_COLUMNS)} FROM executions"
_NODE_OF = f"SELECT {_list(_NODE_COLUMNS)}, run_index, id FROM node_executions"
_execution_values = operator.attrgetter(*EXECUTION_COLUMNS)
_node_values = operator.attrgetter(*_NODE_COLUMNS)


class Log:
    """One log file. Every method raises sqlite3.Error (or NewerFile, OSError) when it can't be used.

    `durable=True` makes commits survive a power cut, not only the end of the process.
    """

    def __init__(self, path: str | Path, *, durable: bool = False) -> None:
        if str(path) != IN_MEMORY:
            # Absolute: it may be opened again after the program changed its directory.
            path = Path(path).expanduser().absolute()
        self.connection = Connection(Path(path), durable=durable)

    @property
    def path(self) -> Path:
        return self.connection.path

    # --- writing ----------------------------------------------------------------------------------

    def write(self, rows: Iterable[Row]) -> None:
        """Store rows, in their order, in one commit; each is a record to send from then on."""
        added: dict[int, tuple[NodeRow, int]] = {}

        def remember() -> None:
            for node, row_id in added.values():
                node.row_id = row_id

        def write(connection: sqlite3.Connection) -> None:
            for row in rows:
                _write_row(connection, row, added)

        # Not before: a commit that fails leaves no row with this id, and the row comes again. Nor
        # later: another thread may wait to write the same row.
        self.connection.write(write, committed=remember)

    def log_execution(
        self, execution: Mapping[str, Any], *, scrubber: Scrubber | None = None
    ) -> str:
        """Log an execution in requirement 002's shape (camelCase or snake_case) in one commit; its id.

        One whose id is known is replaced, and those of its nodes that come again. Secrets become
        marks before anything is written. Raises BadExecution, which names all that is wrong.
        """
        row, nodes = rows_of(execution, scrubber or plain_scrubber())

        def write(connection: sqlite3.Connection) -> None:
            known = {
                (node.node_id, node.run_index): node.row_id
                for node in read_nodes(connection, "WHERE execution_id = ?", (row.id,))
            }
            for node in nodes:
                node.row_id = known.get((node.node_id, node.run_index))
            rows: list[Row] = [row, *nodes]
            for each in rows:
                _write_row(connection, each, {})

        self.connection.look()
        self.connection.write(write)
        return row.id

    # --- reading ----------------------------------------------------------------------------------

    def get_executions(
        self, workflow_id: str | None = None, limit: int = 50, offset: int = 0
    ) -> list[ExecutionRow]:
        """Executions of one workflow or of all, the latest start first."""
        where, values = (
            ("", ()) if workflow_id is None else (" WHERE workflow_id = ?", (workflow_id,))
        )
        self.connection.look()
        found = self.connection.read(
            lambda connection: connection.execute(
                f"{_EXECUTION_OF}{where} ORDER BY started_at DESC, id DESC LIMIT ? OFFSET ?",
                (*values, limit, offset),
            ).fetchall()
        )
        return [ExecutionRow(**dict(zip(EXECUTION_COLUMNS, each, strict=True))) for each in found]

    def get_execution(self, execution_id: str) -> tuple[ExecutionRow, list[NodeRow]] | None:
        """One execution with its nodes in the order they were written; None when there is none."""

        def read(connection: sqlite3.Connection) -> tuple[ExecutionRow, list[NodeRow]] | None:
            found = read_execution(connection, execution_id)
            if found is None:
                return None
            return found, read_nodes(
                connection, "WHERE execution_id = ? ORDER BY id", (execution_id,)
            )

        self.connection.look()
        return self.connection.read(read)

    # --- deleting ---------------------------------------------------------------------------------

    def delete_execution(self, execution_id: str) -> bool:
        """Delete an execution with its nodes; what of it waits to be sent counts as dropped."""
        self.connection.look()
        return self.connection.write(
            lambda connection: delete_executions(connection, [execution_id]) == 1
        )

    def clear_workflow_executions(self, workflow_id: str) -> int:
        """Delete all executions of a workflow; their number."""

        def clear(connection: sqlite3.Connection) -> int:
            ids = connection.execute(
                "SELECT id FROM executions WHERE workflow_id = ?", (workflow_id,)
            ).fetchall()
            return delete_executions(connection, [each for (each,) in ids])

        self.connection.look()
        return self.connection.write(clear)


def _write_row(
    connection: sqlite3.Connection, row: Row, added: dict[int, tuple[NodeRow, int]]
) -> None:
    if isinstance(row, NodeRow):
        _write_node(connection, row, added)
    else:
        connection.execute(_PUT_EXECUTION, _execution_values(row))
        outbox.add(connection, row.id, None)


def _write_node(
    connection: sqlite3.Connection, row: NodeRow, added: dict[int, tuple[NodeRow, int]]
) -> None:
    """Insert a node, or change it; `added` are the nodes that this transaction has inserted."""
    row_id = added[id(row)][1] if id(row) in added else row.row_id
    if row_id is not None:
        which = (row_id, row.execution_id, row.node_id)
        changed = connection.execute(_CHANGE_NODE, (*_node_values(row), *which)).rowcount
        if not changed:
            raise sqlite3.IntegrityError("the node was deleted meanwhile")
    else:
        inserted = connection.execute(
            _ADD_NODE, (*_node_values(row), row.run_index, row.execution_id, row.node_id)
        )
        row_id = inserted.lastrowid
        assert row_id is not None
        added[id(row)] = row, row_id
    outbox.add(connection, row.execution_id, row_id)


def read_execution(connection: sqlite3.Connection, execution_id: str) -> ExecutionRow | None:
    found = connection.execute(f"{_EXECUTION_OF} WHERE id = ?", (execution_id,)).fetchone()
    return (
        None if found is None else ExecutionRow(**dict(zip(EXECUTION_COLUMNS, found, strict=True)))
    )


def read_nodes(
    connection: sqlite3.Connection, where: str, values: Sequence[object]
) -> list[NodeRow]:
    names = (*_NODE_COLUMNS, "run_index", "row_id")
    return [
        NodeRow(**dict(zip(names, each, strict=True)))
        for each in connection.execute(f"{_NODE_OF} {where}", values)
    ]


def delete_executions(connection: sqlite3.Connection, ids: Sequence[str]) -> int:
    """Delete them with their nodes, count what of them waited as dropped; how many there were."""
    outbox.drop(connection, ids)
    return sum(
        connection.execute("DELETE FROM executions WHERE id = ?", (each,)).rowcount for each in ids
    )
