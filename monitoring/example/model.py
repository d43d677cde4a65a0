"""What an example workflow is made of; `workflows.py` fills it in, `generate.py` lets it run."""

from __future__ import annotations

import enum
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

MakeOutput: TypeAlias = Callable[[random.Random, Any], Any]
"""From a random generator and the node's input to its output."""


class Rhythm(enum.Enum):
    """When a workflow runs."""

    OFFICE = "mostly in working hours, little at weekends"
    EVENLY = "every so many minutes"
    ONCE_A_DAY = "once a day at a fixed hour"


@dataclass(frozen=True, slots=True)
class ExampleEnvironment:
    """An environment that the example tenant gets; `slug` is how workflows name it."""

    slug: str
    name: str
    provider: str
    base_url: str


@dataclass(frozen=True, slots=True)
class ExampleNode:
    """One node: its usual duration is about `median_ms`; `runs` counts repetitions in a loop.

    `waits`: the time is spent waiting for a person or a clock, not working.
    """

    id: str
    name: str
    type: str
    median_ms: int
    output: MakeOutput
    runs: int = 1
    waits: bool = False


@dataclass(frozen=True, slots=True)
class ExampleFailure:
    """How a workflow fails: at `node`, in this share of its executions.

    Only between `since_hours` and `until_hours` before now. `partial`: the workflow goes on after
    it. `duration_ms` fixes the failing node's duration (a time-out). `retried`: a second attempt
    follows, which succeeds in this share of the cases.
    """

    node: str
    share: float
    message: str
    stack: str = ""
    http_code: int | None = None
    duration_ms: int | None = None
    partial: bool = False
    since_hours: float = float("inf")
    until_hours: float = 0.0
    retried: float | None = None


@dataclass(frozen=True, slots=True)
class ExampleWorkflow:
    """One workflow with about `per_day` executions; `new_version` came `new_since_hours` ago."""

    external_id: str
    name: str
    environment: str
    trigger: str
    per_day: float
    rhythm: Rhythm
    nodes: tuple[ExampleNode, ...]
    failures: tuple[ExampleFailure, ...] = ()
    trigger_data: Callable[[random.Random], Any] | None = None
    hour: int = 2
    version: str = "1"
    new_version: str = ""
    new_since_hours: float = 0.0
    tags: tuple[str, ...] = ()
    running_now: int = 0
    waiting_now: int = 0
    child: ExampleWorkflow | None = None
    child_node: str = ""
