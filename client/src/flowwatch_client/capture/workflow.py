"""`workflow`: a decorator with and without arguments, and a `with` block."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, overload

from flowwatch_client import client as clients
from flowwatch_client.capture import threads
from flowwatch_client.capture.arguments import Arguments
from flowwatch_client.capture.block import Block
from flowwatch_client.capture.calls import Recording
from flowwatch_client.capture.decorating import Decorated, Wait, function_within, name_of, recorded
from flowwatch_client.capture.execution import Execution
from flowwatch_client.capture.nothing import NoExecution
from flowwatch_client.capture.place import inside


@overload
def workflow(function: Decorated, /) -> Decorated: ...
@overload
def workflow(
    workflow_id: str | None = None,
    /,
    *,
    name: str | None = None,
    trigger: str = "manual",
    trigger_data: Any = None,
    keys: Mapping[str, object] | None = None,
    tags: Iterable[str] = (),
    version: str | None = None,
    attempt: int | None = None,
    retry_of: str | None = None,
    sample: float | None = None,
    values: bool | None = None,
    attempts: int = 1,
    wait: Wait = 0.0,
) -> Workflow: ...
def workflow(given: Any = None, /, **options: Any) -> Any:
    """Record what runs in it as one execution of a workflow.

        @workflow                                   @workflow("invoices", tags=["billing"])
        def invoices(): …                           async def run(): …

        with workflow("invoices", keys={"order": 4711}) as execution: …

    A function's arguments become the data of its trigger (unless `trigger_data` is given), what it
    returns the result. `attempts` repeats a function that raises, after `wait` seconds (or what
    `wait(attempt)` says); each attempt is an execution that names the one before it. `sample` and
    `values` go before the settings. Within another workflow it becomes an execution of its own that
    names the other as its parent.
    """
    if given is None or isinstance(given, str):
        return Workflow(given, **options)
    return Workflow(None, **options)(given)


def start_workflow(workflow_id: str, **options: Any) -> Execution:
    """Begin an execution by hand, for code that has no block to put it in: end it with `finish`.

    Takes what `workflow` takes. Nodes belong to it that are begun with its `node`, or within
    `with attach(execution):`.
    """
    return Workflow(workflow_id, **options).begin()


class Workflow(Block[Execution]):
    """What `workflow(…)` gives: a decorator, and a block that may be used again and again."""

    def __init__(
        self,
        workflow_id: str | None,
        *,
        attempts: int = 1,
        wait: Wait = 0.0,
        trigger_data: Any = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self._id = workflow_id
        self._attempts = attempts
        self._wait = wait
        self._trigger_data = trigger_data
        self._options = options

    def __call__(self, function: Decorated) -> Decorated:
        inner = function_within(function)
        workflow_id = self._id or name_of(inner)
        arguments = Arguments(inner)

        def begin(
            args: tuple[Any, ...],
            kwargs: Mapping[str, Any],
            attempt: int | None = None,
            before: Recording | None = None,
        ) -> Recording | None:
            data = self._trigger_data
            execution = self._begin(
                workflow_id,
                (arguments.of(args, kwargs) or None) if data is None else data,
                attempt,
                before.id if isinstance(before, Execution) else None,
            )
            return None if isinstance(execution, NoExecution) else execution

        return recorded(function, begin, self._attempts, self._wait)

    def _begin_block(self, depth: int) -> Execution:
        return self.begin()

    def begin(self) -> Execution:
        """A new execution, which its `finish` ends."""
        return self._begin(self._id or "workflow", self._trigger_data)

    def _begin(
        self,
        workflow_id: str,
        trigger_data: Any,
        attempt: int | None = None,
        retry_of: str | None = None,
    ) -> Execution:
        client = clients.active()
        if client is None:
            return NoExecution()
        options = self._options
        if attempt is not None:
            options = {**options, "attempt": attempt}
        if retry_of is not None:
            options = {**options, "retry_of": retry_of}
        try:
            if client.settings.threads:
                threads.carry()
            return Execution(
                client, workflow_id, trigger_data=trigger_data, parent=inside(), **options
            ).start()
        except BaseException as error:  # recording never reaches the workflow
            client.complain("begin an execution", error)
            return NoExecution()
