from monitoring.models.bulk import BulkJob
from monitoring.models.contact import SignOfLife
from monitoring.models.definition import WorkflowVersion
from monitoring.models.environment import Environment
from monitoring.models.error import ErrorGroup
from monitoring.models.event import Event
from monitoring.models.execution import (
    Execution,
    ExecutionKey,
    IdempotencyKey,
    NodeExecution,
)
from monitoring.models.quota import QuotaUse
from monitoring.models.retention import PastWeek, RetentionRun, Seal
from monitoring.models.rollup import Level, NodeLine, NodeRollup, Rollup, RollupDelta, Subject
from monitoring.models.view import SavedView
from monitoring.models.workflow import Workflow

__all__ = [
    "BulkJob",
    "Environment",
    "ErrorGroup",
    "Event",
    "Execution",
    "ExecutionKey",
    "IdempotencyKey",
    "Level",
    "NodeExecution",
    "NodeLine",
    "NodeRollup",
    "PastWeek",
    "QuotaUse",
    "RetentionRun",
    "Rollup",
    "RollupDelta",
    "SavedView",
    "Seal",
    "SignOfLife",
    "Subject",
    "Workflow",
    "WorkflowVersion",
]
