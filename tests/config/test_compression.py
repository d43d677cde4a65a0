"""Pages and exports go over the wire compressed when asked."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import cast

import pytest
from django.http import StreamingHttpResponse
from django.test import Client

from monitoring.models import Workflow
from tests.monitoring.factories import make_environment, make_execution, make_workflow
from tests.tenants.factories import make_member, make_tenant, signed_in_as

PAGE = "/t/agency/executions/"
ASK = {"Accept-Encoding": "gzip, deflate, br"}


@pytest.fixture
def workflow(db: None) -> Workflow:
    workflow = make_workflow(make_environment(make_tenant(slug="agency")))
    make_execution(workflow)
    return workflow


@pytest.fixture
def viewer(workflow: Workflow) -> Client:
    return signed_in_as(make_member(workflow.tenant))


def test_a_page_is_compressed_when_asked(viewer: Client) -> None:
    asked, plain = viewer.get(PAGE, headers=ASK), viewer.get(PAGE)
    assert asked["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in asked["Vary"]
    assert gzip.decompress(asked.content).startswith(b"<!doctype html>")
    assert len(asked.content) < len(plain.content) / 2
    assert "Content-Encoding" not in plain


def test_an_export_is_compressed_while_it_streams(viewer: Client) -> None:
    def read(headers: dict[str, str]) -> bytes:
        answer = cast(StreamingHttpResponse, viewer.get(f"{PAGE}export.csv", headers=headers))
        return b"".join(cast(Iterator[bytes], answer.streaming_content))

    assert gzip.decompress(read(ASK)) == read({})
