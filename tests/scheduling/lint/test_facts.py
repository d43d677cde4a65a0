"""What history says about a workflow."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
from django.utils import timezone

from monitoring.models import Workflow
from monitoring.words import Status
from scheduling.lint.base import Facts, NodeFailures
from scheduling.lint.facts import facts_of
from tenants.scoping import tenant_scope
from tests.monitoring.factories import (
    make_environment,
    make_execution,
    make_executions,
    make_tenant,
    make_workflow,
)


@pytest.fixture
def workflow(db: None) -> Iterator[Workflow]:
    tenant = make_tenant()
    with tenant_scope(tenant):
        yield make_workflow(make_environment(tenant))


def facts(workflow: Workflow) -> Facts:
    return facts_of([workflow.pk], now=timezone.now())[workflow.pk]


def test_a_workflow_without_executions_has_no_history(workflow: Workflow) -> None:
    assert facts(workflow) == Facts()


def test_recent_are_the_newest_finished_first(workflow: Workflow) -> None:
    now = timezone.now()
    for minutes, status in enumerate(
        [Status.RUNNING, Status.FAILED, Status.CANCELED, Status.SUCCESS], start=1
    ):
        make_execution(workflow, status, started_at=now - dt.timedelta(minutes=minutes))
    assert facts(workflow).recent == (Status.FAILED, Status.SUCCESS)


def test_recent_are_at_most_twenty(workflow: Workflow) -> None:
    make_executions(workflow, 30)
    found = facts(workflow)
    assert len(found.recent) == 20
    assert found.is_pushed


def test_failures_are_counted_by_node_and_reason(workflow: Workflow) -> None:
    for message, node in [
        ("Connection timed out", "fetch"),
        ("429 Too Many Requests", "fetch"),
        ("x is not defined", "fetch"),
        ("Connection timed out", "send"),
    ]:
        make_execution(workflow, Status.FAILED, error_message=message, error_node_id=node)
    long_ago = timezone.now() - dt.timedelta(days=9)
    make_execution(
        workflow, Status.FAILED, started_at=long_ago, error_message="old", error_node_id="send"
    )
    found = facts(workflow).failures_by_node
    assert found == {"fetch": NodeFailures(3, 2), "send": NodeFailures(1, 1)}


def test_other_workflows_do_not_count(workflow: Workflow) -> None:
    make_execution(make_workflow(workflow.environment), Status.FAILED, error_message="no")
    assert facts(workflow) == Facts()
