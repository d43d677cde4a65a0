"""What the API says about itself: limits, the OpenAPI document and the page for people."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from monitoring.api import examples
from monitoring.api.answers import json_answer
from monitoring.api.bodies import ENCODINGS
from monitoring.api.endpoints import OPERATIONS, Answer, operation
from monitoring.api.ingest import IDEMPOTENCY_KEY
from monitoring.api.openapi import document, encoded_document
from monitoring.api.reading import paragraphs, sections
from monitoring.recording.quota import quota_of
from tenants.api_access import Access, ApiRequest


class LimitsAnswer(msgspec.Struct):
    """What one message may weigh and what this server can do."""

    limits: Annotated[
        dict[str, int], msgspec.Meta(description="Bytes are counted after unpacking.")
    ]
    executions_per_minute: Annotated[
        int | None,
        msgspec.Meta(description="What this tenant may send; more is answered 429. Null: all."),
    ]
    capabilities: list[str]


@operation(
    "GET",
    "/api/limits",
    name="limits",
    access=Access(None),
    subject="About",
    answers=(Answer(200, "The limits.", LimitsAnswer, examples.LIMITS),),
)
def show_limits(request: ApiRequest) -> HttpResponse:
    """Show the limits and capabilities."""
    limits = dataclasses.asdict(settings.LIMITS)
    return json_answer(LimitsAnswer(limits, quota_of(request.tenant), capabilities()))


def capabilities() -> list[str]:
    """Words for what clients may rely on here; each names what it says for good."""
    offered = {word for entry in OPERATIONS for word in entry.capability.split()}
    if any(IDEMPOTENCY_KEY in entry.headers for entry in OPERATIONS):
        offered.add("ingest.idempotency-key")
    return sorted(offered | {f"encoding.{name}" for name in ENCODINGS})


@operation(
    "GET",
    "/api/openapi.json",
    name="openapi",
    access=None,
    subject="About",
    answers=(Answer(200, "The document.", dict[str, Any], {"openapi": "3.1.0"}),),
)
def show_openapi(request: HttpRequest) -> HttpResponse:
    """Show this API as an OpenAPI 3.1 document."""
    return HttpResponse(encoded_document(), content_type="application/json")


@operation(
    "GET",
    "/api/docs",
    name="docs",
    access=None,
    subject="About",
    answers=(Answer(200, "The page.", str, "<!doctype html>", content_type="text/html"),),
)
def show_docs(request: HttpRequest) -> HttpResponse:
    """Show this API to people, with calls to copy."""
    origin, about = settings.FRONTEND_URL, document()["info"]
    return render(
        request,
        "monitoring/api_docs.html",
        {
            "about": about,
            "introduction": paragraphs(about["description"]),
            "origin": origin,
            "sections": sections(origin),
        },
    )
