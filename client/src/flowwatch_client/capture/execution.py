"""A running execution: takes its nodes, and writes its row at its start and its end."""

from __future__ import annotations

import collections
import contextvars
import itertools
import os
import platform
import random
import socket
import threading
import uuid
import weakref
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, NamedTuple

from flowwatch_client.capture import errors, source
from flowwatch_client.capture.clock import Clock, milliseconds, now
from flowwatch_client.capture.items import Items
from flowwatch_client.capture.node import NodeExecution, NoNode
from flowwatch_client.capture.place import Place, here, leave_late
from flowwatch_client.capture.quiet import quiet
from flowwatch_client.client import LONGEST_MESSAGE, LONGEST_NAME, LONGEST_STACK, Client
from flowwatch_client.parent import Parent
from flowwatch_client.parent import from_environment as parent_in_environment
from flowwatch_client.rows import ERROR, RUNNING, SUCCESS, ExecutionRow, NodeRow
from flowwatch_client.values import beginning

MOST_UNSAMPLED_NODES = 1_000
MOST_UNSAMPLED_CHARACTERS = 4 * 1024 * 1024
"""What an execution that may be left out keeps in memory; with more it is written as any other."""
MOST_LOG_LINES = 200
_LONGEST_LINE = 2_000
_MOST_KEYS = 50
_MOST_FAILURES = 100
_UNSET: Any = object()


class _Failure(NamedTuple):
    """An exception that left a node."""

    mark: errors.Mark
    number: int
    node_id: str


class Execution:
    """One run of a workflow. Made by `workflow` and `start_workflow`; no method ever raises.

    `sampled` says whether a success is written with its nodes and values; a failure always is.
    """

    def __init__(
        self,
        client: Client,
        workflow_id: str,
        *,
        name: str | None = None,
        trigger: str = "manual",
        trigger_data: Any = None,
        keys: Mapping[str, object] | None = None,
        tags: Iterable[str] = (),
        version: str | None = None,
        attempt: int | None = None,
        retry_of: str | None = None,
        parent: Place | None = None,
        sample: float | None = None,
        values: bool | None = None,
    ) -> None:
        self.client = client
        self.keeps_values = client.settings.values if values is None else values
        self.id = str(uuid.uuid4())
        self.clock = Clock()
        self.lock = threading.RLock()  # a finalizer may end a node in the middle of another
        self.next_node = itertools.count(1).__next__
        self.open_nodes: dict[int, NodeExecution] = {}
        self._started = now()
        self._is_finished = False
        self._items: Items | None = None
        self._pid = os.getpid()
        self._keys: dict[str, str] = {}
        self._tags: list[str] = []
        self._lines: collections.deque[dict[str, str]] = collections.deque(maxlen=MOST_LOG_LINES)
        self._failures: collections.OrderedDict[int, _Failure] = collections.OrderedDict()
        self._unsampled: list[NodeRow] = []
        self._unsampled_characters = 0
        self._nodes_left_out = 0
        rate = client.settings.sample if sample is None else sample
        self.sampled: bool = parent.execution.sampled if parent else _is_drawn(rate)
        self._trigger_data = self._value(trigger_data)
        self.entered_at: Place | None = None
        self._token: contextvars.Token[Place | None] | None = None
        outer = _parent_of(parent)
        self.row = ExecutionRow(
            id=self.id,
            workflow_id=client.name(workflow_id),
            workflow_name=client.name(name or workflow_id),
            status=RUNNING,
            started_at=self.clock.text(self._started),
            trigger_type=client.name(trigger),
            trigger_data=self._trigger_data if self.sampled else "null",
            attempt=attempt,
            retry_of=retry_of,
            parent_execution_id=outer.execution_id if outer else None,
            parent_node_id=outer.node_id if outer else None,
            version=client.name(version) if version else client.version,
            heartbeat_seconds=client.settings.heartbeat_seconds,
        )
        self.set_keys(**(keys or {}))
        self.add_tags(*tags)
        self.row.extra = self._extra()

    # --- what the workflow says about itself ------------------------------------------------------

    @quiet
    def set_keys(self, **keys: object) -> None:
        """Business keys to find the execution by: `set_keys(order=4711)`. The last value counts."""
        for name, value in keys.items():
            if len(self._keys) < _MOST_KEYS or name in self._keys:
                text = beginning(str(value), LONGEST_NAME, self.client.scrubber)
                self._keys[self.client.name(name)] = self.client.text(text, LONGEST_NAME)
        self.row.keys = self.client.json(self._keys) if self._keys else None

    @quiet
    def add_tags(self, *tags: str) -> None:
        """Words to group executions by; each counts once."""
        for tag in tags:
            clean = self.client.name(str(tag))
            if clean not in self._tags and len(self._tags) < _MOST_KEYS:
                self._tags.append(clean)
        self.row.tags = self.client.json(self._tags) if self._tags else None

    @quiet
    def set_trigger(self, kind: str, data: Any = None) -> None:
        """What started it: `set_trigger("webhook", payload)`."""
        self.row.trigger_type = self.client.name(kind)
        self.set_trigger_data(data)

    @quiet
    def set_trigger_data(self, data: Any) -> None:
        """What came with the trigger, where its kind was said at the start."""
        self._trigger_data = self._value(data)
        if self.sampled:
            self.row.trigger_data = self._trigger_data

    @quiet
    def set_result(self, value: Any) -> None:
        """Its result, where it isn't what the workflow's function returns."""
        if self.keeps_values:
            self.row.result = self.client.json(value)

    @quiet
    def add_line(self, line: dict[str, str]) -> None:
        """A line of its log; the last ones are kept."""
        scrubber = self.client.scrubber
        self._lines.append(
            {name: beginning(text, _LONGEST_LINE, scrubber) for name, text in line.items()}
        )

    def complain(self, doing: str, error: BaseException) -> None:
        """Say once what went wrong in recording it."""
        self.client.complain(doing, error)

    # --- its life ---------------------------------------------------------------------------------

    def start(self) -> Execution:
        """Write that it runs."""
        self.client.begin(self)
        return self

    def node(
        self,
        node_id: str,
        *,
        name: str | None = None,
        type: str = "function",  # noqa: A002 - the word of nodes everywhere
        input: Any = None,  # noqa: A002
        attempt: int | None = None,
        parent: str | None = None,
    ) -> NodeExecution:
        """Begin a node by hand: end it with its `finish`, or use it with `with`.

        `parent` is the id of the node around it; without, the node in which this is called.
        """
        place = here.get()
        if parent is None and place is not None and place.execution is self:
            parent = place.node_id
        try:
            clean = self.client.name
            return NodeExecution(
                self, clean(node_id), clean(name or node_id), clean(type),
                attempt=attempt, parent_id=parent, source=source.of_caller(1),
            ).begin(input)  # fmt: skip
        except BaseException as error:  # recording never reaches the workflow
            self.complain("begin a node", error)
            return NoNode()

    @property
    def is_over(self) -> bool:
        """Whether it has ended, so that what runs on belongs to it no more."""
        return self._is_finished

    @quiet
    def finish(self, *, result: Any = _UNSET, error: BaseException | None = None) -> None:
        """Write how it ended, once: by what it returned or by what it raised."""
        with self.lock:
            if self._is_finished or self._pid != os.getpid():
                return
            self._is_finished = True
        try:
            self._write_end(result, error)
        finally:
            self._failures.clear()
            self.client.ended(self)

    def _write_end(self, result: Any, error: BaseException | None) -> None:
        ended = now()
        status = errors.status_of(error)
        row = self.row
        try:
            if result is not _UNSET:
                self.set_result(result)
            if error is not None and status != SUCCESS:
                row.error_message, row.error_stack = self.told(error)
                row.error_node_id = self._failed_node(error)
            if status == ERROR:
                self.write_whole()
            self.show_open_nodes()
            if not self.sampled:
                self._nodes_left_out += len(self._unsampled)
                self._unsampled.clear()
                row.result = None
            row.extra = self._extra()
        finally:  # whatever comes up meanwhile, as a time limit, it has ended
            row.completed_at = self.clock.text(ended)
            row.duration_ms = milliseconds(self._started, ended)
            row.status = status  # last: the background may read the row at any time
            self.client.write(row)

    # --- as a recording of a call -----------------------------------------------------------------

    @property
    def place(self) -> Place:
        return Place(self)

    def succeeded(self, result: Any) -> None:
        self.finish(result=result)

    def failed(self, error: BaseException) -> None:
        self._tell_items()
        self.finish(error=error)

    @quiet
    def yielded(self, item: Any) -> None:
        if self.keeps_values:
            self._items = self._items or Items(self.client.json)
            self._items.add(item)

    def exhausted(self) -> None:
        self._tell_items()
        self.finish()

    def _tell_items(self) -> None:
        if self._items is not None:
            self.row.result = self._items.text()

    # --- as a block -------------------------------------------------------------------------------

    def __enter__(self) -> Execution:
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

    # --- its nodes --------------------------------------------------------------------------------

    def write_node(self, row: NodeRow) -> None:
        """Take a node: into the log, or into memory until it is known whether the execution counts."""
        if self._failures:
            self._forget_failures()
        if self.sampled:
            self.client.write(row)
            return
        with self.lock:
            self._unsampled.append(row)
            self._unsampled_characters += row.size
            is_much = (
                len(self._unsampled) > MOST_UNSAMPLED_NODES
                or self._unsampled_characters > MOST_UNSAMPLED_CHARACTERS
            )
        if is_much:
            self.write_whole()

    def write_whole(self) -> None:
        """Have it written as one that is sampled, with what was kept so far."""
        with self.lock:
            if self.sampled:
                return
            self.sampled = True
            kept, self._unsampled = self._unsampled, []
        self.row.trigger_data = self._trigger_data
        self.row.extra = self._extra()
        self.client.write(self.row, *kept)

    def show_open_nodes(self, started_before: float | None = None) -> None:
        """Write the nodes that run still, so that they are seen before they end."""
        if not self.sampled:
            return
        for node in list(self.open_nodes.values()):
            if started_before is None or node.started < started_before:
                node.show()

    def note_failure(self, error: BaseException, number: int, node_id: str) -> bool:
        """Remember in which node an exception rose; whether it was this one and none within it."""
        known = self._failure_of(error)
        if known is not None and known.number > number:  # a node within this one
            return False
        self._failures[id(error)] = _Failure(errors.Mark(error), number, node_id)
        if len(self._failures) > _MOST_FAILURES:
            self._failures.popitem(last=False)
        return True

    def _forget_failures(self) -> None:
        """Leave out exceptions that are gone; here, as what they held ends in the workflow's threads."""
        for key, failure in list(self._failures.items()):
            if failure.mark.is_obsolete:
                self._failures.pop(key, None)

    def told(self, error: BaseException) -> tuple[str, str]:
        """Message and stack of an exception, scrubbed and cut."""
        text = self.client.text
        return self.message(error), text(errors.stack_of(error), LONGEST_STACK)

    def message(self, error: BaseException) -> str:
        """The message of an exception alone."""
        return self.client.text(errors.message_of(error), LONGEST_MESSAGE)

    def after_fork(self) -> None:
        """In the child: its nodes are written at once, as it can't know how the execution ends."""
        self.lock = threading.RLock()  # a finalizer may end a node in the middle of another
        self.sampled = True
        self._unsampled = []
        self.open_nodes = {}

    def _failed_node(self, error: BaseException) -> str | None:
        for each in errors.related(error):
            if failure := self._failure_of(each):
                return failure.node_id
        return None

    def _failure_of(self, error: BaseException) -> _Failure | None:
        known = self._failures.get(id(error))
        return known if known is not None and known.mark.is_of(error) else None

    def _value(self, value: Any) -> str:
        return self.client.json(value) if self.keeps_values and value is not None else "null"

    def _extra(self) -> str:
        extra: dict[str, Any] = {"process": _process(os.getpid())}
        if not self.sampled:
            extra["sampled"] = False
            if self._nodes_left_out:
                extra["nodesLeftOut"] = self._nodes_left_out
        elif self._lines:
            extra["log"] = list(self._lines)
        return self.client.json(extra)


def _is_drawn(rate: float) -> bool:
    return rate >= 1 or random.random() < rate  # noqa: S311 - a sample, no secret


def _parent_of(place: Place | None) -> Parent | None:
    """What is around a new execution: in this process, or in the one that started it."""
    return parent_in_environment() if place is None else Parent(place.execution.id, place.node_id)


def _process(pid: int) -> dict[str, object]:
    return {"pid": pid, "host": socket.gethostname(), "python": platform.python_version()}


class AttachedExecution(Execution):
    """An execution that runs in another process: takes nodes, and leaves its row to that process."""

    def __init__(self, client: Client, execution_id: str) -> None:
        super().__init__(client, "attached", sample=1.0)
        self.id = execution_id
        self._is_finished = True
        _attached.add(self)

    @property
    def is_over(self) -> bool:
        """Nobody here can know."""
        return False

    @quiet
    def set_keys(self, **keys: object) -> None:
        """Nothing: the process in which it began says them."""

    @quiet
    def add_tags(self, *tags: str) -> None:
        """Nothing."""


_attached: weakref.WeakSet[AttachedExecution] = weakref.WeakSet()
"""Those that the client doesn't know as running."""


def _after_fork_in_child() -> None:
    for execution in [*_attached]:
        execution.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
