"""Logs what Python workflows did, node by node, into a local file and to Flowwatch."""

from flowwatch_client.capture.context import (
    Context,
    add_tags,
    attach,
    current,
    set_keys,
    set_result,
    set_trigger,
)
from flowwatch_client.capture.execution import Execution
from flowwatch_client.capture.node import NodeExecution
from flowwatch_client.capture.nodes import node
from flowwatch_client.capture.workflow import start_workflow, workflow
from flowwatch_client.client import configure, flush
from flowwatch_client.integrations.asgi import FlowwatchMiddleware
from flowwatch_client.integrations.functions import traced, wrap
from flowwatch_client.integrations.logs import FlowwatchHandler
from flowwatch_client.log.log import Log

__all__ = [
    "Context",
    "Execution",
    "FlowwatchHandler",
    "FlowwatchMiddleware",
    "Log",
    "NodeExecution",
    "add_tags",
    "attach",
    "configure",
    "current",
    "flush",
    "node",
    "set_keys",
    "set_result",
    "set_trigger",
    "start_workflow",
    "traced",
    "workflow",
    "wrap",
]
