"""An execution that is told of while it runs: nodes appear as they come, in the API and on its page."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tenants.models import Tenant
from tests.monitoring.api.conftest import Api, lines
from tests.monitoring.factories import make_member

pytestmark = [pytest.mark.django_db, pytest.mark.store]

BEGAN = timezone.now() - dt.timedelta(minutes=3)


def at(seconds: int) -> str:
    return (BEGAN + dt.timedelta(seconds=seconds)).isoformat()


def node(name: str, seconds: int, *, run: int = 0, status: str = "success", **more: Any) -> Any:
    told = {"nodeId": name, "nodeName": f"{name} it", "runIndex": run, "status": status}
    if status != "running":
        told |= {"completedAt": at(seconds + 5), "durationMs": 5_000}
    return told | {"startedAt": at(seconds), "input": {"n": run}} | more


ABOUT = {"id": "long-1", "workflowId": "import", "workflowName": "Import", "startedAt": at(0)}
MESSAGES: list[dict[str, Any]] = [
    ABOUT | {"status": "running", "updatedAt": at(1), "nodeExecutions": [node("read", 0, status="running")]},
    ABOUT | {"status": "running", "updatedAt": at(10), "nodeExecutions": [node("read", 0), node("send", 6)]},
    # Only what is new, and a second run of a node that was told of before.
    ABOUT | {"status": "running", "updatedAt": at(20), "nodeExecutions": [node("send", 12, run=1)]},
    ABOUT | {
        "status": "error",
        "completedAt": at(30),
        "error": {"message": "503 Service Unavailable", "nodeId": "send"},
        "nodeExecutions": [node("send", 20, run=2, status="error", error={"message": "503"})],
    },
]  # fmt: skip
SEEN = [
    ("running", {("read", 0): "running"}),
    ("running", {("read", 0): "success", ("send", 0): "success"}),
    ("running", {("read", 0): "success", ("send", 0): "success", ("send", 1): "success"}),
    ("error", {("read", 0): "success", ("send", 0): "success", ("send", 1): "success", ("send", 2): "error"}),
]  # fmt: skip


def seen(api: Api) -> tuple[str, dict[tuple[str, int], str]]:
    shown = api.get("/api/executions/long-1")
    nodes = {(each["nodeId"], each["runIndex"]): each["status"] for each in shown["nodeExecutions"]}
    return shown["status"], nodes


def test_nodes_appear_while_it_runs(api: Api) -> None:
    for message, expected in zip(MESSAGES, SEEN, strict=True):
        assert api.post("/api/executions", message).status_code in (200, 201)
        assert seen(api) == expected
    shown = api.get("/api/executions/long-1")
    assert shown["durationMs"] == 30_000
    assert {each["input"]["n"] for each in shown["nodeExecutions"]} == {0, 1, 2}


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_whatever_the_order_it_ends_the_same(api: Api, order: tuple[int, ...]) -> None:
    answer = api.post(
        "/api/executions/batch",
        lines([MESSAGES[place] for place in order]),
        content_type="application/x-ndjson",
    )
    assert answer.status_code == 200
    assert seen(api) == SEEN[-1]


def test_its_page_follows_it(api: Api, tenant: Tenant, client: Client) -> None:
    client.force_login(make_member(tenant))
    made = api.post("/api/executions", MESSAGES[0]).json()["id"]
    url = f"/t/{tenant.slug}/executions/{made}/"
    page = client.get(url).content.decode()
    assert "Import is running" in page
    assert 'id="goes-on"' in page, "it asks again"
    assert ("read it" in page, "send it" in page) == (True, False)
    api.post("/api/executions", MESSAGES[1])
    polled = client.get(url, headers={"HX-Request": "true", "HX-Target": "goes-on"})
    page = polled.content.decode()
    assert ("read it" in page, "send it" in page) == (True, True)
    assert page.count('id="ran"') == 1, "the part that is swapped in"
    api.post("/api/executions", MESSAGES[3])
    polled = client.get(url, headers={"HX-Request": "true", "HX-Target": "goes-on"})
    assert polled.headers["HX-Refresh"] == "true", "there is more to say at its end"
    page = client.get(url).content.decode()
    assert "Import failed" in page
    assert "503 Service Unavailable" in page
