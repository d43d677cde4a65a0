"""The example data: the same for the same moment, accepted by the way in, and lively."""

from __future__ import annotations

import datetime as dt
import shlex
from collections import Counter
from io import StringIO
from typing import Any

import msgspec
import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from monitoring.example import generate
from monitoring.example.generate import Message, example_messages
from monitoring.models import Environment, Execution, Workflow
from monitoring.recording import schema
from monitoring.words import Status
from tenants.models import Membership, Role, Tenant
from tenants.scoping import across_tenants, tenant_scope

NOW = dt.datetime(2026, 11, 21, 11, 7, tzinfo=dt.UTC)
SOURCE = schema.Source(tenant_id=1, received_at=NOW, default_environment_id=1)


@pytest.fixture(scope="module")
def messages() -> list[Message]:
    return example_messages(NOW)


def nodes(messages: list[Message]) -> list[dict[str, Any]]:
    return [node for message in messages for node in message.body["nodeExecutions"]]


def test_it_is_the_same_for_the_same_moment(messages: list[Message]) -> None:
    assert messages == example_messages(NOW)
    assert messages != example_messages(NOW, seed=8)


def test_every_message_is_accepted(messages: list[Message]) -> None:
    for message in messages:
        record = schema.full_execution(message.body, msgspec.json.encode(message.body), SOURCE)
        assert record.started_at == message.started_at.replace(
            microsecond=message.started_at.microsecond // 1_000 * 1_000
        )
        assert message.sent_at <= NOW


def test_it_holds_what_a_first_visitor_should_see(messages: list[Message]) -> None:
    bodies = [message.body for message in messages]
    assert 5_000 < len(bodies) < 8_000
    assert len({body["workflowId"] for body in bodies}) >= 12
    assert set(Counter(body["status"] for body in bodies)) == {
        "success", "failed", "partial", "running", "waiting",
    }  # fmt: skip
    assert any("retryOf" in body and body["attempt"] == 2 for body in bodies)
    assert any("parent" in body for body in bodies)
    every_node = nodes(messages)
    assert any(node["runIndex"] == 2 for node in every_node)
    assert any(len(node.get("error", {}).get("stack", "")) > 5_000 for node in every_node)
    assert any(len(msgspec.json.encode(node.get("input"))) > 1_000_000 for node in every_node)


def test_ids_are_unique_in_a_workflow(messages: list[Message]) -> None:
    ids = Counter((message.body["workflowId"], message.body["id"]) for message in messages)
    assert ids.most_common(1)[0][1] == 1


def test_invoice_sync_fails_since_its_new_version(messages: list[Message]) -> None:
    rates = {}
    for version in ("7", "8"):
        runs = [
            m.body
            for m in messages
            if m.body["workflowName"] == "Invoice sync" and m.body["version"] == version
        ]
        rates[version] = sum(body["status"] == "failed" for body in runs) / len(runs)
    assert rates["7"] < 0.05
    assert rates["8"] > 0.5


@pytest.mark.django_db
def test_the_command_fills_an_empty_database_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "DAYS", 2)
    out = StringIO()
    call_command("seed_example", "--email", "owner@example.com", stdout=out)
    tenant = Tenant.objects.get()
    with tenant_scope(tenant):
        assert Execution.objects.count() > 200
        assert Workflow.objects.count() >= 12
        assert Execution.objects.filter(status=Status.RUNNING).exists()
        assert {e.name for e in Environment.objects.all()} == {
            "Default", "n8n EU", "GoHighLevel", "Python",
        }  # fmt: skip
        assert Membership.objects.get().role == Role.OWNER
    with pytest.raises(CommandError, match="tenants already"):
        call_command("seed_example", "--email", "owner@example.com", stdout=StringIO())


@pytest.mark.django_db
def test_what_the_command_prints_works(client: Client) -> None:
    out = StringIO()
    call_command("seed_example", "--email", "owner@example.com", "--empty", stdout=out)
    printed = out.getvalue()
    password = printed.split("Password")[1].split()[0]
    assert client.login(email="owner@example.com", password=password)
    words = shlex.split(printed[printed.index("curl") :])
    header = words[words.index("-H") + 1]
    body = words[words.index("-d") + 1]
    with across_tenants():
        assert not Execution.objects.exists()
    sent = Client().post(
        words[1].removeprefix("http://localhost:8000"),
        body,
        content_type="application/json",
        headers={"Authorization": header.split(": ")[1]},
    )
    assert sent.status_code == 201, sent.content
    page = client.get(f"/t/example-agency/executions/{sent.json()['id']}/").content.decode()
    assert "Send invoice" in page


@pytest.mark.django_db
def test_a_password_can_be_given(client: Client) -> None:
    call_command(
        "seed_example", email="owner@example.com", password="right horse", empty=True,
        stdout=StringIO(),
    )  # fmt: skip
    assert client.login(email="owner@example.com", password="right horse")
