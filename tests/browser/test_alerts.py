"""The whole line in a browser: settings, three failures, the mail, its link, the recovery."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator

import pytest
from django.core import mail
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from monitoring.recording.environments import forget_environments
from tenants.models import Role, Tenant
from tenants.tokens import forget_cached_tokens
from tests.alerts.factories import settle
from tests.browser.chromium import watch
from tests.monitoring.factories import make_member, make_tenant
from tests.tenants.factories import make_token

MAIL, PASSWORD = "ada@example.com", "right-horse-battery"


@pytest.fixture
def tenant(live_server: LiveServer) -> Iterator[Tenant]:
    forget_environments()
    forget_cached_tokens()
    tenant = make_tenant(slug="north")
    make_member(tenant, Role.ADMIN, email=MAIL)
    yield tenant
    forget_environments()
    forget_cached_tokens()


@pytest.fixture
def page(browser: Browser, live_server: LiveServer) -> Iterator[Page]:
    context = browser.new_context(base_url=live_server.url)
    page = context.new_page()
    troubles = watch(page)
    yield page
    context.close()
    assert troubles == []


def post(live_server: LiveServer, token: str, status: str) -> None:
    """What curl would send."""
    body = {"status": status, "workflowName": "Invoice sync", "errorMessage": "HTTP 500"}
    call = urllib.request.Request(
        f"{live_server.url}/api/workflows/invoices/executions",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(call) as answer:
        assert answer.status == 201


def test_from_the_settings_to_the_notice_that_it_is_over(
    page: Page, tenant: Tenant, live_server: LiveServer
) -> None:
    page.goto("/sign-in/")
    page.get_by_label("Mail address").fill(MAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Alerts", exact=True).first.click()
    page.get_by_role("link", name="Say who is told of what").click()

    threshold = page.get_by_label("Failures", exact=True)
    page.get_by_label("Failures, slider").fill("5")
    expect(threshold).to_have_value("5")
    threshold.fill("3")
    expect(page.get_by_label("Failures, slider")).to_have_value("3")
    page.get_by_label("Mail addresses").fill("ops@example.com")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    page.get_by_role("button", name="Send a test").click()
    expect(page.get_by_text("Taken by the mail server.")).to_be_visible()
    assert mail.outbox.pop().subject.startswith("Test of your alerts")

    _, token = make_token(tenant)
    for _ in range(3):
        post(live_server, token, "failed")
    settle()
    [told] = mail.outbox
    assert "Invoice sync failed 3 times" in told.subject

    page.goto(f"/t/{tenant.slug}/alerts/")
    page.get_by_role("link", name=re.compile("Invoice sync failed")).click()
    expect(page.get_by_text("Mail ops@example.com")).to_be_visible()

    found = re.search(r"http://[^/\s]+(/alerts/acknowledge/\S+/)", str(told.body))
    assert found
    page.goto(found[1])
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_text("it is acknowledged")).to_be_visible()

    for _ in range(3):
        post(live_server, token, "success")
    settle()
    assert mail.outbox[1].subject.startswith("Resolved: ")
    page.goto(f"/t/{tenant.slug}/alerts/")
    expect(page.get_by_text("Nothing is open")).to_be_visible()


def test_the_preview_follows_the_sliders(
    page: Page, tenant: Tenant, live_server: LiveServer
) -> None:
    _, token = make_token(tenant)
    for _ in range(3):
        post(live_server, token, "failed")
    page.goto(f"/sign-in/?next=/t/{tenant.slug}/alerts/settings/")
    page.get_by_label("Mail address").fill(MAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_text("told 1 time last week")).to_be_visible()
    page.get_by_label("Failures, slider").fill("9")
    expect(page.get_by_text("told 0 times last week")).to_be_visible()
