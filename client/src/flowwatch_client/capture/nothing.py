"""What `with workflow(…)` gives when nothing is recorded."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from flowwatch_client.capture.execution import Execution
from flowwatch_client.capture.node import NoNode


class NoExecution(Execution):
    """It takes all and does nothing."""

    id = ""
    entered_at = None

    def __init__(self) -> None:
        """Nothing."""

    def set_keys(self, **keys: object) -> None:
        """Nothing."""

    def add_tags(self, *tags: str) -> None:
        """Nothing."""

    def set_trigger(self, kind: str, data: Any = None) -> None:
        """Nothing."""

    def set_trigger_data(self, data: Any) -> None:
        """Nothing."""

    def set_result(self, value: Any) -> None:
        """Nothing."""

    def complain(self, doing: str, error: BaseException) -> None:
        """Nothing."""

    def start(self) -> NoExecution:
        return self

    def node(self, node_id: str, **_options: Any) -> NoNode:
        return NoNode()

    def finish(self, *, result: Any = None, error: BaseException | None = None) -> None:
        """Nothing."""

    def __enter__(self) -> NoExecution:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> None:
        """Nothing."""
