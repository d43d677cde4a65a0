"""The execution that this process is part of, told by whoever started it in the environment.

`flowwatch-client run` sets both variables for its command. A workflow that begins with no workflow around
it in its own process takes `from_environment()` as its parent, and so becomes a sub-workflow.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

EXECUTION_VARIABLE = "FLOWWATCH_EXECUTION"
PARENT_VARIABLE = "FLOWWATCH_PARENT"
_LONGEST_ID = 255


@dataclasses.dataclass(frozen=True)
class Parent:
    """What becomes `parent` of a sub-workflow."""

    execution_id: str
    node_id: str | None = None


def from_environment(environment: Mapping[str, str] = os.environ) -> Parent | None:
    """The parent that FLOWWATCH_PARENT names, `<execution id>` or `<execution id>/<node id>`."""
    execution_id, _, node_id = environment.get(PARENT_VARIABLE, "").strip().partition("/")
    if not 0 < len(execution_id) <= _LONGEST_ID:
        return None
    return Parent(execution_id, node_id[:_LONGEST_ID] or None)


def to_environment(parent: Parent) -> dict[str, str]:
    """Variables for a process that is started by a node of an execution."""
    both = (
        parent.execution_id if parent.node_id is None else f"{parent.execution_id}/{parent.node_id}"
    )
    return {EXECUTION_VARIABLE: parent.execution_id, PARENT_VARIABLE: both}
