"""What a workflow's code asks and says about the execution it runs in."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

from flowwatch_client import client as clients
from flowwatch_client.capture.execution import AttachedExecution, Execution
from flowwatch_client.capture.place import Place, at, inside


@dataclasses.dataclass(frozen=True)
class Context:
    """An execution and a node in it, to be given to a thread or, pickled, to another process.

    What it was pickled for is written in full: another process can't know how the execution ends.
    """

    execution_id: str
    node_id: str | None = None

    def __getstate__(self) -> dict[str, str | None]:
        client = clients.active()
        execution = client.running(self.execution_id) if client else None
        if execution is not None:
            execution.write_whole()
        return dict(self.__dict__)


def current() -> Context | None:
    """Where this code runs; None outside of a workflow."""
    place = inside()
    return Context(place.execution.id, place.node_id) if place else None


@contextlib.contextmanager
def attach(context: Context | Execution | None) -> Iterator[None]:
    """Have nodes within the `with` block belong to that execution; None changes nothing."""
    place = _place_of(context)
    if place is None:
        yield
        return
    with at(place):
        yield


def _place_of(context: Context | Execution | None) -> Place | None:
    if isinstance(context, Execution):
        return context.place if context.id else None
    client = clients.active() if context is not None else None
    if client is None or context is None:
        return None
    try:
        execution = client.running(context.execution_id)
        return Place(execution or AttachedExecution(client, context.execution_id), context.node_id)
    except BaseException as error:  # recording never reaches the workflow
        client.complain("attach to an execution", error)
        return None


def set_keys(**keys: object) -> None:
    """Business keys to find this execution by: `set_keys(order=4711)`. The last value counts."""
    if place := inside():
        place.execution.set_keys(**keys)


def add_tags(*tags: str) -> None:
    """Words to group executions by."""
    if place := inside():
        place.execution.add_tags(*tags)


def set_trigger(kind: str, data: Any = None) -> None:
    """What started this execution: `set_trigger("webhook", payload)`."""
    if place := inside():
        place.execution.set_trigger(kind, data)


def set_result(value: Any) -> None:
    """This execution's result, where it isn't what the workflow's function returns."""
    if place := inside():
        place.execution.set_result(value)
