"""Heartbeats of long executions, by our id or the sender's, and what is shown of those that fell silent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from monitoring.models import Environment, SignOfLife
from monitoring.worker import mark_lost
from tenants.models import Tenant
from tenants.scoping import across_tenants
from tests.monitoring.api.conftest import Api, api_for
from tests.monitoring.factories import make_environment, make_member

pytestmark = [pytest.mark.django_db, pytest.mark.store]


def start(api: Api, **fields: Any) -> str:
    """Send a running execution; its id."""
    message = {"id": "run-1", "workflowId": "w", "status": "running", "heartbeatSeconds": 30}
    answer = api.post(
        "/api/executions", message | {"startedAt": timezone.now().isoformat()} | fields
    )
    assert answer.status_code in (200, 201), answer.content
    return str(answer.json()["id"])


def pass_time(minutes: int = 5) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE monitoring_signoflife SET heard_at = heard_at - %s * interval '1 second',"
            " due_at = due_at - %s * interval '1 second'",
            [60 * minutes, 60 * minutes],
        )
    mark_lost()


def is_lost(api: Api, one: str = "run-1") -> bool:
    return api.get(f"/api/executions/{quote(one, safe='')}")["lostContactAt"] is not None


@pytest.mark.parametrize("named", [lambda ours: ours, lambda ours: "run-1"])
def test_a_heartbeat_takes_the_mark_away(api: Api, named: Callable[[str], str]) -> None:
    ours = start(api)
    pass_time()
    assert is_lost(api)
    answer = api.send("POST", f"/api/executions/{named(ours)}/heartbeat")
    assert answer.status_code == 200
    assert answer.json() == {"id": ours, "external_id": "run-1", "success": True}
    assert not is_lost(api)


def test_it_is_shown_in_every_shape_of_answers(api: Api) -> None:
    ours = start(api)
    pass_time()
    shown = [
        api.get("/api/executions")["data"][0]["lostContactAt"],
        api.get("/api/executions/run-1")["lostContactAt"],
        api.get("/api/workflow-executions")["data"][0]["lost_contact_at"],
        api.get(f"/api/workflow-executions/{ours}")["data"]["lost_contact_at"],
        api.get("/api/v1/executions")["data"][0]["lost_contact_at"],
    ]
    assert None not in shown
    assert len(set(shown)) == 1
    assert api.get("/api/executions/run-1")["status"] == "running", "it is a mark, no status"


def test_a_late_end_wins(api: Api) -> None:
    start(api)
    pass_time()
    start(api, status="success", completedAt=timezone.now().isoformat())
    shown = api.get("/api/executions/run-1")
    assert (shown["status"], shown["lostContactAt"]) == ("success", None)


def test_it_counts_as_running_in_the_numbers(api: Api) -> None:
    start(api)
    before = api.get("/api/workflow-executions/stats/overview")
    pass_time()
    assert is_lost(api)
    assert api.get("/api/workflow-executions/stats/overview") == before


def test_without_a_promise_it_changes_nothing(api: Api) -> None:
    start(api, heartbeatSeconds=None)
    assert api.send("POST", "/api/executions/run-1/heartbeat").status_code == 200
    with across_tenants():
        assert SignOfLife.objects.count() == 0


def test_a_finished_execution_takes_heartbeats_and_stays_as_it_is(api: Api) -> None:
    start(api, status="failed", completedAt=timezone.now().isoformat())
    assert api.send("POST", "/api/executions/run-1/heartbeat").status_code == 200
    assert api.get("/api/executions/run-1")["status"] == "error"


@pytest.mark.parametrize(
    "one", ["no-such", "019c0000-0000-7000-8000-000000000000", "\0", "x" * 300]
)
def test_who_is_unknown_is_404(api: Api, one: str) -> None:
    assert api.send("POST", f"/api/executions/{quote(one)}/heartbeat").status_code == 404


def test_another_tenants_execution_is_404_and_hears_nothing(api: Api, rival: Api) -> None:
    ours = start(api)
    pass_time()
    for one in (ours, "run-1"):
        assert rival.send("POST", f"/api/executions/{one}/heartbeat").status_code == 404
    assert is_lost(api)


def test_a_token_of_another_environment_finds_nothing(api: Api, tenant: Tenant) -> None:
    ours = start(api)
    bound = api_for(tenant, "ingest", environment_id=make_environment(tenant).pk)
    assert bound.send("POST", f"/api/executions/{ours}/heartbeat").status_code == 404


def test_an_id_of_several_is_409_until_the_workflow_decides(api: Api) -> None:
    start(api)
    start(api, workflowId="another")
    answer = api.send("POST", "/api/executions/run-1/heartbeat")
    assert answer.status_code == 409
    assert len(answer.json()["candidates"]) == 2
    decided = api.send("POST", "/api/executions/run-1/heartbeat?workflowId=another")
    assert decided.status_code == 200


@pytest.mark.parametrize("one", ["a/b", "heartbeat", "x/heartbeat", "ü 漢", "50%", "a?b#c"])
def test_any_id_can_be_told(api: Api, one: str) -> None:
    ours = start(api, id=one)
    pass_time()
    answer = api.send("POST", f"/api/executions/{quote(one, safe='')}/heartbeat")
    assert answer.status_code == 200
    assert not is_lost(api, ours)


@pytest.mark.parametrize("body", [b"", b"not json", b"\xff" * 1000, b"[" * 100_000])
def test_a_body_is_not_read(api: Api, body: bytes) -> None:
    start(api)
    answer = api.send("POST", "/api/executions/run-1/heartbeat", body, content_type="text/plain")
    assert answer.status_code == 200


def test_getting_it_is_not_allowed(api: Api) -> None:
    start(api)
    answer = api.send("GET", "/api/executions/run-1/heartbeat")
    assert answer.status_code == 405
    assert answer["Allow"] == "POST, OPTIONS"


def test_a_reading_token_may_not(api: Api, tenant: Tenant) -> None:
    start(api)
    assert (
        api_for(tenant, "read", "write").send("POST", "/api/executions/run-1/heartbeat").status_code
        == 403
    )


def test_the_pages_say_it(api: Api, tenant: Tenant, client: Client) -> None:
    ours = start(api, workflowName="Nightly import")
    pass_time()
    client.force_login(make_member(tenant))
    page = client.get(f"/t/{tenant.slug}/executions/{ours}/").content.decode()
    assert "Nightly import lost contact" in page
    assert "Lost contact since" in page
    assert "every 30 s" in page
    overview = client.get(f"/t/{tenant.slug}/").content.decode()
    assert "Lost contact" in overview.split("Under way now")[-1]
    assert api.send("POST", f"/api/executions/{ours}/heartbeat").status_code == 200
    page = client.get(f"/t/{tenant.slug}/executions/{ours}/").content.decode()
    assert "Nightly import is running" in page
    assert "Lost contact since" not in page


def test_heartbeats_reach_the_environment_that_is_named(api: Api, tenant: Tenant) -> None:
    made: Environment = make_environment(tenant)
    start(api)
    start(api, environmentId=made.pk)
    answer = api.send("POST", f"/api/executions/run-1/heartbeat?environment_id={made.pk}")
    assert answer.status_code == 200
