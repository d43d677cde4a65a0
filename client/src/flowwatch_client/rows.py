"""What is written into the log: rows of executions and of node executions, in the log's own words.

Times are ISO 8601 in UTC with microseconds, durations whole milliseconds, values JSON texts that are
scrubbed and cut already. Capture makes them, the log stores them, delivery sends them.
"""

from __future__ import annotations

import dataclasses

RUNNING = "running"
SUCCESS = "success"
ERROR = "error"
CANCELED = "canceled"
UNFINISHED = ("pending", "running", "waiting")


@dataclasses.dataclass
class ExecutionRow:
    """One run of a workflow; writing a row with a known id replaces it."""

    id: str
    workflow_id: str
    workflow_name: str
    status: str
    started_at: str
    trigger_type: str = "manual"
    trigger_data: str = "null"
    completed_at: str | None = None
    duration_ms: int | None = None
    error_message: str | None = None
    error_stack: str | None = None
    error_node_id: str | None = None
    attempt: int | None = None
    retry_of: str | None = None
    parent_execution_id: str | None = None
    parent_node_id: str | None = None
    version: str | None = None
    tags: str | None = None
    keys: str | None = None
    result: str | None = None
    extra: str | None = None
    """JSON object of further fields, kept as raw log by the server (log lines, process, sampling)."""
    heartbeat_seconds: int | None = None

    @property
    def size(self) -> int:
        """Characters of its values."""
        return len(self.result or "") + len(self.trigger_data)


@dataclasses.dataclass
class NodeRow:
    """One run of a node; `run_index` None lets the log count within (execution, node).

    `row_id` is set by the log when the row is first written; a row that has one is replaced.
    """

    execution_id: str
    node_id: str
    node_name: str
    node_type: str
    status: str
    started_at: str | None = None
    completed_at: str | None = None
    duration_ms: int | None = None
    input: str | None = None
    output: str | None = None
    error_message: str | None = None
    error_stack: str | None = None
    run_index: int | None = None
    attempt: int | None = None
    extra: str | None = None
    """JSON object of further fields: `source`, `parentNodeId`, …"""
    row_id: int | None = None

    @property
    def size(self) -> int:
        """Characters of its values."""
        return len(self.input or "") + len(self.output or "")


Row = ExecutionRow | NodeRow
