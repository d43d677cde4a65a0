"""Incoming messages as people read about them in OpenAPI; `recording.schema` is what reads them.

Every field may be sent in camelCase or in snake_case. Unknown fields are kept, not refused.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

import msgspec

from monitoring.words import STATUS_WORDS

Id = Annotated[str, msgspec.Meta(max_length=255)]
Duration = Annotated[int, msgspec.Meta(ge=0, description="Milliseconds.")]
StatusWord = Annotated[
    str,
    msgspec.Meta(
        description="A canonical status or a provider's word for one.",
        extra_json_schema={"examples": sorted(STATUS_WORDS)},
    ),
]
Time = Annotated[
    dt.datetime,
    msgspec.Meta(description="ISO 8601; without an offset it is UTC. 2000-01-01 or later."),
]


class Trigger(msgspec.Struct, rename="camel"):
    """What started the execution."""

    type: Id | None = None
    data: Any = None


class Failure(msgspec.Struct, rename="camel"):
    """Why it failed; a message over 64 KB and a stack over 256 KB are cut with a mark."""

    message: str | None = None
    stack: str | None = None
    node_id: Id | None = None


class NodeFailure(msgspec.Struct, rename="camel"):
    """Why a node failed."""

    message: str | None = None
    stack: str | None = None


class Parent(msgspec.Struct, rename="camel"):
    """The execution (the sender's id) and node that called this one."""

    execution_id: Id | None = None
    node_id: Id | None = None


class Source(msgspec.Struct, rename="camel"):
    """Where the code of a node stands; pages show it beside the node."""

    file: str | None = None
    line: int | None = None
    function: str | None = None


class FullNode(msgspec.Struct, rename="camel"):
    """One run of one node; input and output over 1 MB are cut with a mark."""

    node_id: Id
    status: StatusWord
    node_name: Id | None = None
    node_type: Id | None = None
    run_index: Annotated[
        int | None,
        msgspec.Meta(
            description="Which run of this node it is, from 0. Needed for nodes that can run more "
            "than once when a message holds only part of the nodes."
        ),
    ] = None
    attempt: int | None = None
    started_at: Time | None = None
    completed_at: Time | None = None
    duration_ms: Duration | None = None
    input: Any = None
    output: Any = None
    error: NodeFailure | None = None
    source: Source | None = None


class FullExecution(msgspec.Struct, rename="camel"):
    """One execution with its nodes (at most 5,000)."""

    workflow_id: Id
    status: StatusWord
    id: Annotated[
        Id | None,
        msgspec.Meta(
            description="Yours. Messages with the same id are one execution; without an id (and "
            "without an Idempotency-Key) each message is a new one.",
        ),
    ] = None
    workflow_name: Id | None = None
    environment_id: int | None = None
    started_at: Time | None = None
    completed_at: Time | None = None
    updated_at: Time | None = None
    duration_ms: Duration | None = None
    trigger: Trigger | None = None
    node_executions: list[FullNode] | None = None
    error: Failure | None = None
    result: Any = None
    attempt: int | None = None
    retry_of: Id | None = None
    parent: Parent | None = None
    version: Id | None = None
    tags: Annotated[list[Id], msgspec.Meta(max_length=50)] | None = None
    keys: dict[str, Id] | None = None
    heartbeat_seconds: (
        Annotated[
            int,
            msgspec.Meta(
                ge=5,
                le=3_600,
                description="A promise: while it runs, a message or heartbeat comes at least so often. "
                "After three times as long without any it is marked as lost contact.",
            ),
        ]
        | None
    ) = None


class ShortLog(msgspec.Struct, rename="camel"):
    """One finished run. In a batch it carries `workflowId`; otherwise the address names it."""

    status: StatusWord
    workflow_id: Id | None = None
    workflow_name: Id | None = None
    environment_id: int | None = None
    id: Annotated[Id | None, msgspec.Meta(description="Yours, to send the log again safely.")] = (
        None
    )
    failed_action_id: Id | None = None
    failed_action_name: Id | None = None
    error_message: str | None = None
    execution_time_ms: Duration | None = None
    executed_at: Time | None = None


class ErrorWorkflowCall(msgspec.Struct, rename="camel"):
    """The data of n8n's Error Trigger: `execution`, or `trigger` when the trigger itself failed."""

    workflow: dict[str, Any]
    execution: dict[str, Any] | None = None
    trigger: dict[str, Any] | None = None
