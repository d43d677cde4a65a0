"""Signs of life of an execution that runs long."""

from __future__ import annotations

import uuid
from typing import Annotated

import msgspec
from django.http import HttpResponse

from monitoring.api import examples
from monitoring.api.answers import json_answer
from monitoring.api.endpoints import Answer, operation
from monitoring.api.finding import EXECUTION_CHOICE, execution_of
from monitoring.recording import contact
from tenants.api_access import Access, ApiRequest


class Heard(msgspec.Struct):
    """The execution that was heard of."""

    id: Annotated[uuid.UUID, msgspec.Meta(description="Our id.")]
    external_id: Annotated[str | None, msgspec.Meta(description="The sender's id.")]
    success: bool = True


@operation(
    "POST",
    "/api/executions/{execution_id}/heartbeat",
    name="execution-heartbeat",
    capability="ingest.heartbeat",
    access=Access("ingest"),
    subject="Ingest",
    query=EXECUTION_CHOICE,
    answers=(Answer(200, "It was heard of.", Heard, examples.HEARD),),
    problems=(404, 409, 503),
)
def record_heartbeat(request: ApiRequest, execution_id: str) -> HttpResponse:
    """Say that an execution is still running.

    The id is ours or the sender's; a body is not read. A running execution that has sent
    `heartbeatSeconds` and then neither heartbeat nor message for three times as long is marked as lost
    contact (`lostContactAt`: when it was heard of last). Whatever comes later takes the mark away. For
    any other execution a heartbeat changes nothing.
    """
    execution = execution_of(request, execution_id)
    contact.note_heartbeat(request.tenant.pk, execution.id)
    return json_answer(Heard(execution.id, execution.external_id))
