"""From definitions to a finding, and from a failure to the person and back: by pages only."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer
from standardwebhooks import Webhook as Verifier

from alerts.models import AlertSettings, Check, Incident
from scheduling import due
from tenants.models import Role, Tenant
from tenants.scoping import across_tenants
from tenants.tokens import issue_token
from tests.alerts.factories import relay
from tests.alerts.receivers import answering, post_office, receiver
from tests.alerts.test_channels import use_mail_server
from tests.browser.chromium import watch
from tests.monitoring.factories import make_member, make_tenant

MAIL, PASSWORD = "ada@example.com", "right-horse-battery"
WORKFLOW = {
    "name": "Lead intake",
    "active": True,
    "nodes": [
        {
            "id": "hook",
            "name": "Webhook",
            "type": "n8n-nodes-base.webhook",
            "typeVersion": 2,
            "parameters": {"path": "leads", "httpMethod": "POST"},
            "position": [0, 0],
        },
        {
            "id": "ask",
            "name": "Ask the CRM",
            "type": "n8n-nodes-base.httpRequest",
            "typeVersion": 4,
            "parameters": {"url": "https://crm.example.com/leads"},
            "position": [200, 0],
        },
    ],
    "connections": {"Webhook": {"main": [[{"node": "Ask the CRM", "type": "main", "index": 0}]]}},
    "settings": {},
}


@pytest.fixture
def tenant(live_server: LiveServer) -> Tenant:
    tenant = make_tenant(slug="north")
    make_member(tenant, Role.OWNER, email=MAIL)
    return tenant


@pytest.fixture
def page(browser: Browser, live_server: LiveServer, tenant: Tenant) -> Iterator[Page]:
    context = browser.new_context(base_url=live_server.url)
    page = context.new_page()
    troubles = watch(page)
    page.goto("/sign-in/")
    page.get_by_label("Mail address").fill(MAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/t/north/")
    yield page
    context.close()
    assert troubles == []


def work_off() -> None:
    """What relay, tick and workers do by themselves in a running product."""
    for _ in range(10):
        relay()
        for kind in due.kinds():
            due.drain(kind.name)
            assert due.wait_for_threads(30)


def send(live_server: LiveServer, token: str, number: int, status: str) -> None:
    message: dict[str, Any] = {
        "id": f"run-{number}",
        "workflowId": "billing",
        "workflowName": "Billing",
        "status": status,
        "durationMs": 400,
    }
    if status == "error":
        message["error"] = {"message": "Card declined: payment failed", "nodeId": "charge"}
    answer = httpx.post(
        f"{live_server.url}/api/executions",
        json=message,
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 201


def test_upload_schedule_scan_and_read_a_finding(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "lead-intake.json"
    file.write_text(json.dumps(WORKFLOW))
    page.goto("/t/north/workflows/upload/")
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("main")).to_contain_text("lead-intake")

    page.goto("/t/north/scans/")
    page.get_by_role("link", name="New schedule").click()
    schedule = page.get_by_role("dialog", name="New schedule")
    schedule.get_by_label("Frequency").select_option("weekly")
    schedule.get_by_label("Weekday").select_option("6")
    schedule.get_by_label("At", exact=True).fill("23:59")
    expect(schedule.locator("#next-runs")).to_contain_text(re.compile(r"(Sun \d+ .* 23:59.*){3}"))
    schedule.get_by_role("button", name="Make schedule").click()
    expect(page.get_by_role("row", name=re.compile("Every week at 23:59"))).to_be_visible()

    page.get_by_role("button", name="Scan now").click()
    expect(page.get_by_role("main")).to_contain_text("Waiting for the worker")
    work_off()
    expect(page.locator("#scan")).not_to_contain_text("Waiting for the worker", timeout=30_000)
    page.get_by_role("link", name="Lead intake").click()
    expect(page.get_by_role("main")).to_contain_text("webhook-no-auth")
    expect(page.get_by_role("main")).to_contain_text("Authentication")


def test_from_three_failures_to_a_mail_a_call_an_acknowledgement_and_the_recovery(
    page: Page, live_server: LiveServer, tenant: Tenant, settings: Settings, browser: Browser
) -> None:
    settings.OUTBOUND_ALLOWED_NETWORKS = (ipaddress.ip_network("127.0.0.0/8"),)
    settings.FRONTEND_URL = live_server.url
    _, token = issue_token(tenant, name="billing", scopes=["ingest"])
    with post_office() as (post, port), receiver(answering(204)) as hook:
        use_mail_server(settings, port)
        page.goto("/t/north/alerts/settings/")
        page.get_by_label("Mail addresses").fill("ops@example.com")
        page.get_by_label("Webhook address").fill(hook.url)
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("main")).to_contain_text("whsec_")

        for number in range(3):
            send(live_server, token, number, "error")
        work_off()
        with across_tenants():
            secret = AlertSettings.objects.get().webhook_secret
        [call] = hook.calls
        event = Verifier(secret).verify(call.body, call.headers)
        assert event["data"]["incident"]["workflow_name"] == "Billing"
        [(recipient, mail)] = post.mails
        assert recipient == "ops@example.com"

        link = re.search(r"Acknowledge: (\S+)", mail.replace("=\r\n", "").replace("=3D", "="))
        assert link is not None
        reader = browser.new_context(base_url=live_server.url).new_page()
        reader.goto(link[1])
        with across_tenants():
            assert _status(tenant) == "open", "a scanner that opens links changes nothing"
        reader.get_by_role("button", name="Acknowledge").click()
        expect(reader.get_by_role("status").first).to_contain_text("You take care of it")
        reader.context.close()
        page.goto("/t/north/alerts/")
        expect(page.get_by_role("row", name=re.compile("Billing"))).to_contain_text("Acknowledged")

        with across_tenants():
            Check.objects.update(calm_until=None)  # seconds pass: an open incident is not urgent
        for number in range(3, 6):
            send(live_server, token, number, "success")
        work_off()
        assert _status(tenant) == "resolved"
        assert len(post.mails) == 2
        assert "Billing" in post.mails[1][1]
        assert len(hook.calls) == 2


def _status(tenant: Tenant) -> str:
    with across_tenants():
        return str(Incident.objects.get(tenant=tenant).status)
