"""The panel of one run of one node: its error, what went in, what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from django.utils.text import Truncator

from monitoring.failing_node import ran_last
from monitoring.models import Execution, NodeExecution
from monitoring.pages.execution_place import DataLinks, ExecutionPlace, Link
from monitoring.prepared import prepared
from monitoring.recording.payload import NodePayload, Payload, json_of

PARTS: Final = ("error", "input", "output", "more")
SHOWN_TEXT: Final = 16_000
"""Characters of a message or stack inside the page; the whole is a link away."""

SOURCE_LENGTH: Final = 200
"""Characters that are shown of a file's path, and of a function's name."""

LAST_LINE: Final = 10_000_000

# Part of the panel -> field of the payload, part of the data's address.
_SOURCES: Final = {
    "error": ("error_details", "node-details"),
    "input": ("input", "input"),
    "output": ("output", "output"),
    "more": ("extra", "extra"),
}


@dataclass(frozen=True, slots=True)
class CutText:
    """A long text's beginning; `whole_url` leads to all of it."""

    text: str
    is_cut: bool
    whole_url: str


def cut(text: str, whole_url: str = "") -> CutText:
    """The beginning of a text that may be long."""
    return CutText(text[:SHOWN_TEXT], len(text) > SHOWN_TEXT, whole_url)


@dataclass(frozen=True, slots=True)
class NodeError:
    """What a node told about its failure; each may be missing."""

    message: CutText | None
    stack: CutText | None
    has_details: bool

    @property
    def exists(self) -> bool:
        return self.has_details or self.message is not None or self.stack is not None


@dataclass(frozen=True, slots=True)
class Source:
    """Where the code of a node stands: "orders/invoice.py:42", and in which function."""

    place: str
    function: str


class _ToldSource(msgspec.Struct):
    file: Any = None
    line: Any = None
    function: Any = None


class _Extra(msgspec.Struct):
    """What of a node's other fields the page knows."""

    source: Any = None


def source_of(payload: NodePayload) -> Source | None:
    """Where a node says that its code stands; None where it says nothing that can be read."""
    text = json_of(payload.extra)
    try:
        told = msgspec.convert(msgspec.json.decode(text or b"{}", type=_Extra).source, _ToldSource)
    except msgspec.ValidationError:
        return None
    if type(told.file) is not str or not told.file.strip():
        return None
    has_line = type(told.line) is int and 0 < told.line <= LAST_LINE
    function = told.function if type(told.function) is str else ""
    return Source(
        # The end of a long path says more than its beginning.
        place=_ending(_one_line(told.file)) + (f":{told.line}" if has_line else ""),
        function=Truncator(_one_line(function)).chars(SOURCE_LENGTH),
    )


def _one_line(text: str) -> str:
    return " ".join(text[: 100 * SOURCE_LENGTH].split())


def _ending(text: str) -> str:
    return text if len(text) <= SOURCE_LENGTH else f"…{text[-SOURCE_LENGTH:]}"


@dataclass(frozen=True, slots=True)
class NodePanel:
    """What the panel shows; `data` and `input_below` are None where nothing was sent."""

    node: NodeExecution
    status: str
    kind: str
    source: Source | None
    part: str
    parts: list[Link]
    error: NodeError
    data: DataLinks | None
    input_below: DataLinks | None
    run_number: int
    run_count: int
    previous_run_url: str | None
    next_run_url: str | None


def node_panel(
    place: ExecutionPlace,
    node: NodeExecution,
    nodes: Sequence[NodeExecution],
    whole: Payload,
    *,
    is_failing: bool,
) -> NodePanel:
    """The panel of `node`, with the part open that `?part=` asks for, else its error or output.

    `is_failing`: the execution's own message and stack stand in for those that the node lacks.
    """
    payload = whole.node(node.node_id, node.run_index)
    error = _error(place, node, payload, whole, is_failing)
    part = place.request.GET.get("part", "")
    if part not in PARTS:
        part = _most_telling(payload, error)
    runs = [one for one in nodes if one.node_id == node.node_id]
    at = runs.index(node)
    return NodePanel(
        node=node,
        status=node.state.slug,
        kind=(node.type or "").rpartition(".")[2],
        source=source_of(payload),
        part=part,
        parts=_parts(place, node, payload, error, part),
        error=error,
        data=_data(place, node, payload, part),
        # Whoever reads the error asks next what went in.
        input_below=_data(place, node, payload, "input") if part == "error" else None,
        run_number=at + 1,
        run_count=len(runs),
        previous_run_url=place.node(runs[at - 1]) if at else None,
        next_run_url=place.node(runs[at + 1]) if at + 1 < len(runs) else None,
    )


def _most_telling(payload: NodePayload, error: NodeError) -> str:
    if error.exists:
        return "error"
    return "input" if json_of(payload.output) is None else "output"


def _parts(
    place: ExecutionPlace, node: NodeExecution, payload: NodePayload, error: NodeError, part: str
) -> list[Link]:
    """The tabs of the panel; error and more only where there is something, or they are open."""
    notes = {"input": _items(node.input_items), "output": _items(node.output_items)}
    is_there = {
        "error": error.exists,
        "input": True,
        "output": True,
        "more": json_of(payload.extra) is not None,
    }
    return [
        Link(
            name.capitalize(),
            place.node(node, part=name),
            name == part,
            "–" if name in notes and not _sent(payload, name) else notes.get(name, ""),
        )
        for name in PARTS
        if is_there[name] or name == part
    ]


def _sent(payload: NodePayload, part: str) -> bytes | None:
    field, _ = _SOURCES[part]
    return json_of(getattr(payload, field))


def _data(
    place: ExecutionPlace, node: NodeExecution, payload: NodePayload, part: str
) -> DataLinks | None:
    text = _sent(payload, part)
    if text is None:
        return None
    _, address = _SOURCES[part]
    return place.data(part.capitalize(), address, len(text), node=node.node_id, run=node.run_index)


def _error(
    place: ExecutionPlace,
    node: NodeExecution,
    payload: NodePayload,
    whole: Payload,
    is_failing: bool,
) -> NodeError:
    message = _whole_message(node)
    stack, part = payload.error_stack, "node-stack"
    if is_failing:
        message = message or place.execution.error_message or ""
        if not stack:
            stack, part = whole.error_stack, "stack"
    links = place.data("Stack", part, None, node=node.node_id, run=node.run_index)
    return NodeError(
        message=cut(message) if message else None,
        stack=cut(stack, links.url) if stack else None,
        has_details=_sent(payload, "error") is not None,
    )


def _whole_message(node: NodeExecution) -> str:
    """The node's message, which its row holds the beginning of only."""
    if not node.reason:  # type: ignore[attr-defined]
        return ""
    found = NodeExecution.objects.filter(
        execution_id=node.execution_id, node_id=node.node_id, run_index=node.run_index
    )
    with prepared():
        return found.values_list("error_message", flat=True).first() or ""


def _items(count: int | None) -> str:
    return "" if count is None else f"{count} item{'' if count == 1 else 's'}"


def own_stack(place: ExecutionPlace, payload: Payload) -> CutText | None:
    """The execution's stack, for a page on which no node's panel shows it."""
    stack: str | None = payload.error_stack
    return cut(stack, place.data("Stack", "stack", None).url) if stack else None


def failing_node(execution: Execution, nodes: Sequence[NodeExecution]) -> NodeExecution | None:
    """The run that the error is of: of the node that the execution names, else of any, the last
    that failed."""
    named = [node for node in nodes if node.node_id == execution.error_node_id]
    return (
        ran_last(node for node in named if node.state.is_problem)
        or ran_last(named)
        or ran_last(node for node in nodes if node.state.is_problem)
    )
