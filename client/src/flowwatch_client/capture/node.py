"""A running node, and what is written of it when it ends."""

from __future__ import annotations

import contextvars
import functools
import json
from types import TracebackType
from typing import TYPE_CHECKING, Any

from flowwatch_client import values
from flowwatch_client.capture import errors
from flowwatch_client.capture.clock import milliseconds, now
from flowwatch_client.capture.items import Items
from flowwatch_client.capture.place import Place, here, leave_late
from flowwatch_client.capture.quiet import quiet
from flowwatch_client.capture.source import Source
from flowwatch_client.capture.unfinished import UnfinishedNode
from flowwatch_client.rows import ERROR, RUNNING, SUCCESS, NodeRow

if TYPE_CHECKING:
    from flowwatch_client.capture.execution import Execution

_UNSET: Any = object()


class NodeExecution:
    """One run of a node. No method ever raises."""

    __slots__ = (
        "_execution", "_is_shown", "_items", "_keeps_input", "_keeps_output", "_number", "_row",
        "_token", "entered_at", "started",
    )  # fmt: skip

    def __init__(
        self,
        execution: Execution,
        node_id: str,
        name: str,
        type: str,  # noqa: A002 - the word of nodes everywhere
        *,
        attempt: int | None = None,
        parent_id: str | None = None,
        source: Source | None = None,
        keeps_input: bool | None = None,
        keeps_output: bool | None = None,
    ) -> None:
        self._execution = execution
        self._is_shown = False
        self._items: Items | None = None
        self._keeps_input = execution.keeps_values if keeps_input is None else keeps_input
        self._keeps_output = execution.keeps_values if keeps_output is None else keeps_output
        self._number = execution.next_node()
        self._token: contextvars.Token[Place | None] | None = None
        self.started = 0.0
        self.entered_at: Place | None = None
        self._row = (UnfinishedNode if execution.client.settings.buffered else NodeRow)(
            execution.id, node_id, name, type, RUNNING,
            attempt=attempt, extra=_extra(source, parent_id),
        )  # fmt: skip

    def begin(self, value: Any = None) -> NodeExecution:
        """Start the time; `value` is its input."""
        if value is not None:
            self.set_input(value)
        row, clock = self._row, self._execution.clock
        self.started = now()
        if isinstance(row, UnfinishedNode):
            row.clock, row.started = clock, self.started
        else:
            row.started_at = clock.text(self.started)
        self._execution.open_nodes[self._number] = self
        return self

    @quiet
    def set_input(self, value: Any) -> None:
        """What the node works on; where it is not said at its beginning."""
        if self._keeps_input:
            row = self._row
            if isinstance(row, UnfinishedNode):
                row.input_snapshot = values.snapshot(value, self._execution.client.scrubber)
            else:
                row.input = self._execution.client.json(value)

    @quiet
    def set_output(self, value: Any) -> None:
        """What comes out of the node."""
        if self._keeps_output:
            row = self._row
            if isinstance(row, UnfinishedNode):
                row.output_snapshot = values.snapshot(value, self._execution.client.scrubber)
            else:
                row.output = self._execution.client.json(value)

    def show(self) -> None:
        """Write it while it runs, once."""
        execution = self._execution
        with execution.lock:
            if self._is_shown or self._number not in execution.open_nodes:
                return
            self._is_shown = True
        execution.client.write(self._row)

    def forget_row_id(self) -> None:
        """It goes into a new file."""
        self._row.row_id = None

    def complain(self, doing: str, error: BaseException) -> None:
        """Say once what went wrong in recording it."""
        self._execution.complain(doing, error)

    @quiet
    def finish(self, *, output: Any = _UNSET, error: BaseException | None = None) -> None:
        """Write how it ended, once: by what it returned or by what it raised."""
        ended = now()
        execution, row = self._execution, self._row
        with execution.lock:
            if execution.open_nodes.pop(self._number, None) is None:
                return
        status = SUCCESS if error is None else errors.status_of(error)
        try:
            if output is not _UNSET:
                self.set_output(output)
            if error is not None and status != SUCCESS:
                self._tell(error, status)
        finally:  # whatever comes up meanwhile, as a time limit, it has ended
            if isinstance(row, UnfinishedNode):
                row.ended = ended
            else:
                row.completed_at = execution.clock.text(ended)
                row.duration_ms = milliseconds(self.started, ended)
            row.status = status  # last: the background may read the row at any time
            execution.write_node(row)

    def _tell(self, error: BaseException, status: str) -> None:
        """The stack stands at the innermost node only: those around it would repeat it."""
        execution, row = self._execution, self._row
        is_innermost = execution.note_failure(error, self._number, row.node_id)
        if is_innermost and status == ERROR:
            row.error_message, row.error_stack = execution.told(error)
        else:
            row.error_message = execution.message(error)

    # --- as a recording of a call -----------------------------------------------------------------

    @property
    def place(self) -> Place:
        return Place(self._execution, self._row.node_id)

    def succeeded(self, result: Any) -> None:
        self.finish(output=result)

    def failed(self, error: BaseException) -> None:
        self._tell_items()
        self.finish(error=error)

    @quiet
    def yielded(self, item: Any) -> None:
        if self._keeps_output:
            if self._items is None:
                self._items = Items(self._execution.client.json)
            self._items.add(item)

    def exhausted(self) -> None:
        self._tell_items()
        self.finish()

    def _tell_items(self) -> None:
        if self._items is not None:
            self._row.output = self._items.text()

    # --- as a block -------------------------------------------------------------------------------

    def __enter__(self) -> NodeExecution:
        self.entered_at = self.place
        self._token = here.set(self.entered_at)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> None:
        if self._token is not None:
            leave_late(self._token, self.entered_at)
            self._token = None
        self.finish(error=error)


class NoNode(NodeExecution):
    """What is given when nothing is recorded: it takes all and does nothing."""

    __slots__ = ()

    def __init__(self) -> None:
        self.started = 0.0
        self.entered_at = None

    def begin(self, value: Any = None) -> NoNode:
        return self

    def set_input(self, value: Any) -> None:
        """Nothing."""

    def set_output(self, value: Any) -> None:
        """Nothing."""

    def finish(self, *, output: Any = None, error: BaseException | None = None) -> None:
        """Nothing."""

    def __enter__(self) -> NoNode:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> None:
        """Nothing."""


@functools.lru_cache(maxsize=4096)
def _extra(source: Source | None, parent_id: str | None) -> str | None:
    extra: dict[str, object] = {}
    if source is not None:
        extra["source"] = dict(zip(("file", "line", "function"), source, strict=True))
    if parent_id is not None:
        extra["parentNodeId"] = parent_id
    return json.dumps(extra, ensure_ascii=False) if extra else None
