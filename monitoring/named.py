"""Workflows and their environments by number, for lists."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from monitoring.models import Environment, Workflow
from monitoring.prepared import fetch_all
from tenants.rows import columns_of, made
from tenants.scoping import current_tenant

NAMES: Final = ("id", "tenant_id", "environment_id", "external_id", "name")


def workflows_by_id(ids: Collection[int], only: tuple[str, ...] = ()) -> dict[int, Workflow]:
    """Workflow id → workflow, with its environment, of those that the scope's tenant has.

    `only` are the attributes that are read, such as NAMES; the others are deferred. One statement,
    none for no ids.
    """
    if not ids:
        return {}
    statement = _BY_ID.format(
        workflow=columns_of(Workflow, "w", only), environment=columns_of(Environment, "e")
    )
    width = len(only) or len(Workflow._meta.concrete_fields)
    environments: dict[int, Environment] = {}
    found = {}
    for row in fetch_all(statement, [current_tenant().pk, list(ids)]):
        workflow = made(Workflow, row[:width], only)
        environment = environments.get(workflow.environment_id)
        if environment is None:
            environment = environments[workflow.environment_id] = made(Environment, row[width:])
        workflow.environment = environment
        found[workflow.pk] = workflow
    return found


_BY_ID: Final = """
SELECT {workflow}, {environment} FROM monitoring_workflow w
JOIN monitoring_environment e ON e.id = w.environment_id
WHERE w.tenant_id = %s AND w.id = ANY(%s::bigint[])"""
