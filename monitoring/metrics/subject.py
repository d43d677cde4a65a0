"""What numbers are about: the whole tenant, an environment or a workflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from monitoring.models import Environment, Subject, Workflow
from tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class Measured:
    """The subject of a question; its tenant is always that of the active scope."""

    kind: Subject
    id: int


def of_tenant(tenant: Tenant) -> Measured:
    return Measured(Subject.TENANT, tenant.pk)


def of_environment(environment: Environment) -> Measured:
    return Measured(Subject.ENVIRONMENT, environment.pk)


def of_workflow(workflow: Workflow) -> Measured:
    return Measured(Subject.WORKFLOW, workflow.pk)


@dataclass(frozen=True, slots=True)
class ManyMeasured:
    """Several subjects of one kind, asked about in one statement."""

    kind: Subject
    ids: Sequence[int]
