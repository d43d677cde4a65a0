"""What a test's client wrote into its log."""

from __future__ import annotations

from pathlib import Path

from flowwatch_client import flush
from flowwatch_client.log.log import Log
from flowwatch_client.rows import ExecutionRow, NodeRow

Written = list[tuple[ExecutionRow, list[NodeRow]]]


class Recorded:
    """What the log has, the oldest first."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def executions(self) -> Written:
        assert flush(10)
        log = Log(self.path)
        try:
            found = [log.get_execution(row.id) for row in log.get_executions(limit=1_000)]
        finally:
            log.connection.close()
        return [each for each in reversed(found) if each is not None]

    def one(self) -> tuple[ExecutionRow, list[NodeRow]]:
        (only,) = self.executions()
        return only
