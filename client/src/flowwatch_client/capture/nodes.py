"""`node`: a decorator with and without arguments, and a `with` block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, overload

from flowwatch_client.capture import source
from flowwatch_client.capture.arguments import Arguments
from flowwatch_client.capture.block import Block
from flowwatch_client.capture.calls import Recording
from flowwatch_client.capture.decorating import Decorated, Wait, function_within, name_of, recorded
from flowwatch_client.capture.node import NodeExecution, NoNode
from flowwatch_client.capture.place import inside


@overload
def node(function: Decorated, /) -> Decorated: ...
@overload
def node(
    node_id: str | None = None,
    /,
    *,
    name: str | None = None,
    type: str = "function",
    input: Any = None,
    attempt: int | None = None,
    capture_input: bool | None = None,
    capture_output: bool | None = None,
    attempts: int = 1,
    wait: Wait = 0.0,
) -> Node: ...
def node(given: Any = None, /, **options: Any) -> Any:
    """Record what runs in it as one node of the workflow around it.

        @node                                       @node("send invoice", type="http", attempts=3)
        def read_orders(): …                        async def send(order): …

        with node("send", input=order, attempt=2) as sending:
            sending.set_output(send(order))

    A function's arguments are the node's input, what it returns is its output. `attempts` repeats a
    function that raises, after `wait` seconds (or what `wait(attempt)` says); each attempt is
    recorded. `capture_input` and `capture_output` go before the workflow's and the settings'
    `values`. Outside of a workflow nothing is recorded.
    """
    if given is None or isinstance(given, str):
        return Node(given, **options)
    return Node(None, **options)(given)


class Node(Block[NodeExecution]):
    """What `node(…)` gives: a decorator, and a block that may be used again and again."""

    def __init__(
        self,
        node_id: str | None,
        *,
        name: str | None = None,
        type: str = "function",  # noqa: A002
        input: Any = None,  # noqa: A002
        attempt: int | None = None,
        capture_input: bool | None = None,
        capture_output: bool | None = None,
        attempts: int = 1,
        wait: Wait = 0.0,
    ) -> None:
        super().__init__()
        self._id = node_id
        self._name = name
        self._type = type
        self._input = input
        self._attempt = attempt
        self._keeps_input = capture_input
        self._keeps_output = capture_output
        self._attempts = attempts
        self._wait = wait

    def __call__(self, function: Decorated) -> Decorated:
        inner = function_within(function)
        node_id = self._id or name_of(inner)
        arguments = Arguments(inner)
        written = source.of_function(inner)

        def begin(
            args: tuple[Any, ...],
            kwargs: Mapping[str, Any],
            attempt: int | None = None,
            before: Recording | None = None,
        ) -> Recording | None:
            return self._begin(node_id, arguments.of(args, kwargs) or None, written, attempt)

        return recorded(function, begin, self._attempts, self._wait)

    def _begin(
        self,
        node_id: str,
        value: Any,
        written: source.Source | None,
        attempt: int | None,
        depth: int | None = None,
    ) -> NodeExecution | None:
        """None where nothing is recorded; `depth` tells how many calls above the source is."""
        place = inside()
        if place is None:
            return None
        execution = place.execution
        try:
            clean = execution.client.name
            return NodeExecution(
                execution,
                clean(node_id),
                clean(self._name or node_id),
                clean(self._type),
                attempt=attempt,
                parent_id=place.node_id,
                source=written if depth is None else source.of_caller(depth),
                keeps_input=self._keeps_input,
                keeps_output=self._keeps_output,
            ).begin(value)
        except BaseException as error:  # recording never reaches the workflow
            execution.client.complain("begin a node", error)
            return None

    def _begin_block(self, depth: int) -> NodeExecution:
        begun = self._begin(self._id or "node", self._input, None, self._attempt, depth + 1)
        return begun or NoNode()
