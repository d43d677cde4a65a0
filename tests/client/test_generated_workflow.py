"""Requirement 002's own generated workflow, with a token added, logs to a real Flowwatch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.home import SOURCE_ROOT
from monitoring.models import Execution, NodeExecution
from monitoring.words import Status
from tenants.models import Scope
from tenants.scoping import tenant_scope
from tests.config.servers import WebServer
from tests.tenants.factories import make_tenant, make_token


@pytest.mark.commands
def test_the_generated_workflow_logs_by_itself_and_by_its_route(
    granian_server: WebServer, tmp_path: Path
) -> None:
    tenant = make_tenant()
    _, token = make_token(tenant, Scope.INGEST)
    ran = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("route_of_a_workflow.py"))],
        env={
            **os.environ,
            "PYTHONPATH": str(SOURCE_ROOT / "client/src"),
            "CATALYST_EDITOR_URL": granian_server.url,
            "FLOWWATCH_URL": granian_server.url,
            "FLOWWATCH_TOKEN": token,
            "FLOWWATCH_LOG": str(tmp_path / "executions.db"),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    assert "Warning: Failed to log execution" not in ran.stdout
    with tenant_scope(tenant):
        executions = list(Execution.objects.select_related("workflow").order_by("started_at"))
        workflow_of = {one.pk: one.workflow.external_id for one in executions}
        nodes = {
            (workflow_of[each.execution_id], each.node_id, Status(each.status))
            for each in NodeExecution.objects.all()
        }
    assert sorted(
        (one.workflow.external_id, one.status, one.error_node_id or "") for one in executions
    ) == [
        ("POST /api/workflow", Status.SUCCESS, ""),
        ("POST /api/workflow", Status.FAILED, "check_order"),
        ("generated", Status.SUCCESS, ""),
        ("generated", Status.FAILED, ""),
    ]
    assert nodes == {
        ("generated", "check", Status.SUCCESS),
        ("POST /api/workflow", "check_order", Status.SUCCESS),
        ("POST /api/workflow", "check_order", Status.FAILED),
    }
