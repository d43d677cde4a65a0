"""Definitions of workflows, as providers export them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from django.conf import settings
from django.db import transaction
from django.http import HttpResponse

from monitoring import disk
from monitoring.api import examples
from monitoring.api.answers import json_answer
from monitoring.api.bodies import JSON, demand_content_type, read_body
from monitoring.api.endpoints import Answer, Body, operation
from monitoring.api.forms import PROBLEMS
from monitoring.api.ingest import PUSH_ENVIRONMENT, field_errors, place_of, source_of
from monitoring.api.parameters import clean_id
from monitoring.definitions import (
    Definition,
    InvalidDefinition,
    find_or_make_workflow,
    read_definition,
    store_definition,
)
from monitoring.models import Environment, WorkflowVersion
from monitoring.recording import schema
from tenants import audit, problems
from tenants.api_access import Access, ApiRequest
from tenants.models import Role, User


class N8nWorkflow(msgspec.Struct):
    """A workflow as n8n exports it; further fields of n8n are kept or known to be none of it."""

    nodes: list[dict[str, Any]]
    connections: dict[str, Any] = {}
    name: str | None = None
    active: bool | None = None
    settings: dict[str, Any] | None = None


class NeutralNode(msgspec.Struct):
    """One step. `kind`: trigger, action, request, branch, loop, merge, wait, code, call, stop, note."""

    id: str
    name: str | None = None
    kind: str | None = None
    trigger: Annotated[
        str | None,
        msgspec.Meta(
            description="What starts it: manual, webhook, form, chat, schedule, app, subworkflow, error."
        ),
    ] = None
    type: str | None = None
    parameters: dict[str, Any] | None = None
    disabled: bool = False
    on_error: Annotated[
        str, msgspec.Meta(description="stop, continue (as if nothing was) or error_output.")
    ] = "stop"
    retries: int = 0
    retry_wait_ms: int = 0


class NeutralEdge(msgspec.Struct):
    """A connection between two nodes, by their ids; `output` counts from 0."""

    source: str
    target: str
    output: int = 0


class NeutralWorkflow(msgspec.Struct):
    """A workflow in the neutral form, for systems that have no form known here."""

    nodes: list[NeutralNode]
    edges: list[NeutralEdge]
    name: str | None = None
    active: bool | None = None
    settings: Annotated[
        dict[str, Any] | None,
        msgspec.Meta(description="`error_workflow`, `time_limit_seconds`, `time_zone`."),
    ] = None


class StoredDefinition(msgspec.Struct):
    """What became of a definition."""

    workflow_id: str
    environment_id: int
    version: Annotated[int, msgspec.Meta(description="The version that is current now.")]
    created: Annotated[bool, msgspec.Meta(description="False: it was the current one already.")]
    is_active: bool | None
    node_count: int
    digest: Annotated[str, msgspec.Meta(description="Hash of the definition without its secrets.")]
    success: bool = True


@operation(
    "PUT",
    "/api/workflows/{workflow_id}/definition",
    name="workflow-definition",
    capability="definition.put",
    access=Access("write", Role.OPERATOR),
    subject="Workflows",
    query=(PUSH_ENVIRONMENT,),
    body=Body(
        (N8nWorkflow, NeutralWorkflow),
        (JSON,),
        {"n8n": examples.N8N_DEFINITION, "neutral": examples.NEUTRAL_DEFINITION},
    ),
    answers=(
        Answer(200, "It is the current version.", StoredDefinition, examples.STORED_DEFINITION),
    ),
    problems=PROBLEMS,
)
def put_definition(request: ApiRequest, workflow_id: str) -> HttpResponse:
    """Store a workflow's definition: n8n's JSON, or nodes and edges in the neutral form.

    Scans look at the current version. Sending an unchanged definition makes no version; a workflow
    that is not known yet is made. What looks like a secret is replaced by a mark before it is stored.
    """
    disk.demand_room()
    demand_content_type(request, JSON)
    external_id = clean_id(workflow_id)
    if external_id is None:
        raise problems.unprocessable(
            f"A workflow's id has at most {settings.LIMITS.text} characters.",
            [{"loc": ["path", "workflow_id"], "msg": "is too long"}],
        )
    definition, environment = _read(request)
    with transaction.atomic():
        workflow = find_or_make_workflow(environment, external_id, definition.graph.name)
        person = request.user if request.token is None else None
        version, created = store_definition(
            workflow,
            definition,
            source=WorkflowVersion.Source.API,
            by=person if isinstance(person, User) else None,
        )
        audit.record(
            "definition.put",
            tenant=request.tenant,
            request=request,
            subject=external_id,
            environment_id=environment.pk,
            version=version.number,
            created=created,
        )
    return json_answer(
        StoredDefinition(
            workflow_id=external_id,
            environment_id=environment.pk,
            version=version.number,
            created=created,
            is_active=version.is_active,
            node_count=version.node_count,
            digest=bytes(version.digest).hex(),
        )
    )


def _read(request: ApiRequest) -> tuple[Definition, Environment]:
    """What the call brings, and for which environment. Raises 400, 413, 422."""
    body = read_body(request, settings.LIMITS.body_bytes)
    try:
        definition = read_definition(schema.decode(body))
        source = source_of(request, PUSH_ENVIRONMENT.of(request))
    except schema.NotJson as error:
        raise problems.bad_request(str(error), kind="not-json") from None
    except schema.InvalidMessage as error:
        raise problems.unprocessable("Nothing was stored.", field_errors(error)) from None
    except InvalidDefinition as error:
        raise problems.unprocessable(
            "This is no workflow definition; nothing was stored.",
            [{"loc": place_of(loc), "msg": msg} for loc, msg in error.errors],
        ) from None
    chosen = source.environment_id or source.default_environment_id
    return definition, Environment.objects.get(pk=chosen)
