"""Pings of cron jobs: one line of shell makes an execution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpResponse

from monitoring.api import examples
from monitoring.api.answers import json_answer
from monitoring.api.bodies import read_body
from monitoring.api.endpoints import Answer, operation
from monitoring.api.ingest import (
    PUSH_ENVIRONMENT,
    Recorded,
    field_errors,
    let_in,
    recorded,
    source_of,
    take_quota,
)
from monitoring.api.parameters import clean_text, text
from monitoring.recording.pings import Ping, Signal, record_ping
from monitoring.recording.schema import InvalidMessage
from tenants import problems
from tenants.api_access import Access, ApiRequest

RUN_ID = text(
    "rid",
    "Names the run, so that its start and its end belong together when several runs overlap; the same "
    "ping of the same run counts once.",
)
_ANSWERS = (Answer(200, "It is stored.", Recorded, examples.PINGED),)


def _ping(path: str, *, name: str, capability: str = "") -> Callable[[Any], Any]:
    return operation(
        "POST",
        path,
        name=name,
        capability=capability,
        access=Access("ingest"),
        subject="Ingest",
        query=(RUN_ID, PUSH_ENVIRONMENT),
        answers=_ANSWERS,
        problems=(400, 408, 413, 415, 422, 429, 503),
    )


@_ping("/api/heartbeats/{workflow_id}", name="ping", capability="ingest.ping")
def ping_success(request: ApiRequest, workflow_id: str) -> HttpResponse:
    """Tell that a run of a workflow ended well.

    It ends the run that `rid` names, else the newest that was opened without a name in the last 72 hours;
    where there is none it makes a finished execution. A body, any text or JSON, is kept as the raw log.
    """
    return _recorded(request, workflow_id, Signal.SUCCESS)


@_ping("/api/heartbeats/{workflow_id}/start", name="ping-start")
def ping_start(request: ApiRequest, workflow_id: str) -> HttpResponse:
    """Tell that a run of a workflow starts.

    It opens a running execution. With a `rid` that was told already it changes nothing. A body is kept as
    trigger data.
    """
    return _recorded(request, workflow_id, Signal.START)


@_ping("/api/heartbeats/{workflow_id}/fail", name="ping-fail")
def ping_failure(request: ApiRequest, workflow_id: str) -> HttpResponse:
    """Tell that a run of a workflow failed.

    As a ping without `/fail`, with a failed execution. The last line of the body (of JSON its `message` or
    `error`) is the error's message.
    """
    return _recorded(request, workflow_id, Signal.FAIL)


def _recorded(request: ApiRequest, workflow_id: str, signal: Signal) -> HttpResponse:
    let_in(request)
    run_id = RUN_ID.of(request)
    body = read_body(request, settings.LIMITS.body_bytes)
    take_quota(request, 1)
    try:
        source = source_of(request, PUSH_ENVIRONMENT.of(request))
        result = record_ping(Ping(clean_text(workflow_id), signal, run_id, body), source)
    except InvalidMessage as error:
        raise problems.unprocessable("Nothing was stored.", field_errors(error)) from None
    return json_answer(recorded(request, result))
