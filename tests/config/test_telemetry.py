"""What `/metrics` says, and to whom."""

from __future__ import annotations

import ipaddress
import math
import re
from pathlib import Path

import httpx
import pytest
from django.db import OperationalError, connection
from django.db.backends.utils import CursorWrapper
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from monitoring.models import Event
from scheduling.models import Cluster
from tenants.scoping import tenant_scope
from tenants.tokens import issue_token
from tests.config.servers import WebServer
from tests.monitoring.factories import make_tenant

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-long-token-for-the-monitoring"


def samples(text: str) -> dict[tuple[str, ...], float]:
    """(name, label values in the order of their names) → value; raises on what is no Prometheus text."""
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def read(client: Client) -> dict[tuple[str, ...], float]:
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    return samples(answer.content.decode())


@pytest.fixture
def open_to_token(settings: Settings) -> None:
    settings.METRICS_TOKEN = TOKEN


def test_without_settings_there_is_nothing(client: Client) -> None:
    answer = client.get("/metrics", headers={"Authorization": "Bearer "})
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "said", [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", "Bearer \xe9"]
)
@pytest.mark.usefixtures("open_to_token")
def test_who_does_not_know_the_token_is_refused(client: Client, said: str | None) -> None:
    answer = client.get("/metrics", headers={} if said is None else {"Authorization": said})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert b"flowwatch_" not in answer.content


@pytest.mark.django_db
def test_addresses_may_be_allowed(client: Client, settings: Settings) -> None:
    settings.METRICS_ALLOWED_NETWORKS = (ipaddress.ip_network("192.0.2.0/24"),)
    assert client.get("/metrics", REMOTE_ADDR="192.0.2.7").status_code == 200
    assert client.get("/metrics", REMOTE_ADDR="198.51.100.7").status_code == 401
    forged = client.get("/metrics", REMOTE_ADDR="198.51.100.7", HTTP_X_FORWARDED_FOR="192.0.2.7")
    assert forged.status_code == 401


@pytest.mark.django_db
@pytest.mark.usefixtures("open_to_token")
def test_it_says_what_waits_and_who_works(client: Client) -> None:
    tenant = make_tenant("acme")
    with tenant_scope(tenant):
        Event.objects.create(tenant=tenant, kind="nobody.cares", body={}, created_at=timezone.now())
    now = timezone.now()
    Cluster.objects.create(
        name="a@host", host="host", pid=None, restarts=3, started_at=now, beat_at=now
    )
    found = read(client)
    assert found["flowwatch_database_up",] == 1
    assert found["flowwatch_database_bytes",] > 1_000_000
    assert found["flowwatch_outbox_waiting",] == 1
    assert found["flowwatch_outbox_oldest_seconds",] >= 0
    assert found["flowwatch_tick_age_seconds",] == math.inf  # nobody ever looked
    assert found["flowwatch_due_rows", "schedule", "due"] == 0
    assert found["flowwatch_cluster_works", "a@host"] == 0
    assert found["flowwatch_cluster_restarts", "a@host"] == 3
    assert found["flowwatch_partitions",] > 2
    assert found["flowwatch_partitions_until_timestamp_seconds",] > 1_700_000_000
    assert not any("acme" in word for sample in found for word in sample)


@pytest.mark.django_db
@pytest.mark.usefixtures("open_to_token")
def test_the_rules_of_the_documents_ask_for_what_there_is(
    client: Client, settings: Settings, tmp_path: Path
) -> None:
    settings.DATABASE_FOLDERS = (tmp_path,)
    text = (ROOT / "docs/deployment.md").read_text()
    [rules] = re.findall("```yaml\n(scrape_configs:.*?)```", text, re.DOTALL)
    asked = set(re.findall(r"flowwatch_\w+", rules))
    exported = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).content.decode()
    assert len(asked) >= 10
    assert [name for name in asked if f"# TYPE {name} " not in exported] == []


@pytest.mark.django_db
@pytest.mark.usefixtures("open_to_token")
def test_without_a_database_it_says_so(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> CursorWrapper:
        raise OperationalError("connection refused")

    monkeypatch.setattr(connection, "cursor", away)
    found = read(client)
    assert found["flowwatch_database_up",] == 0
    assert ("flowwatch_outbox_waiting",) not in found


@pytest.mark.django_db(transaction=True)
def test_the_numbers_of_all_web_processes_are_added_up() -> None:
    _, ingest = issue_token(make_tenant("acme"), name="test", scopes=["ingest"])
    with WebServer(METRICS_TOKEN=TOKEN, WEB_WORKERS="2") as server:
        for _ in range(30):  # a connection each, so that both processes have some
            assert httpx.get(f"{server.url}/sign-in/").status_code == 200
        assert httpx.get(f"{server.url}/nowhere/").status_code == 404
        httpx.request("BREW", f"{server.url}/api/limits")
        httpx.post(f"{server.url}/api/executions", content=b"{}")
        for number in range(20):
            body = {"workflowId": "w", "id": f"e{number}", "status": "success"}
            sent = {"Authorization": f"Bearer {ingest}"}
            assert httpx.post(f"{server.url}/api/executions", json=body, headers=sent).is_success
        for _ in range(5):
            answer = httpx.get(
                f"{server.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}
            )
            found = samples(answer.text)
            assert found["flowwatch_http_requests_total", "pages", "GET", "200"] == 30
            assert found["flowwatch_http_requests_total", "pages", "GET", "404"] == 1
            assert found["flowwatch_http_requests_total", "api", "POST", "401"] == 1
            assert found["flowwatch_executions_total", "created"] == 20
            assert found["flowwatch_http_request_seconds_count", "pages"] == 31
    others = [key for key in found if key[:3] == ("flowwatch_http_requests_total", "api", "other")]
    assert len(others) == 1
