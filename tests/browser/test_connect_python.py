"""Connecting Python as a person does it: look, make a token, copy, paste."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect
from pytest_django.live_server_helper import LiveServer

from tenants.models import Role
from tests.browser.axe import serious_findings
from tests.browser.chromium import watch
from tests.tenants.factories import PASSWORD, make_member, make_tenant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("width", [1440, 390])
def test_a_token_is_made_and_copied_with_what_is_around_it(
    browser: Browser, live_server: LiveServer, width: int
) -> None:
    tenant = make_tenant(slug="acme", name="Acme")
    person = make_member(tenant, Role.OWNER, email="owner@example.com")
    context = browser.new_context(
        viewport={"width": width, "height": 900}, base_url=live_server.url, reduced_motion="reduce"
    )
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    troubles = watch(page)
    page.goto("/sign-in/")
    page.get_by_label("mail").first.fill(person.email)
    page.locator("input[type=password]").fill(PASSWORD)
    page.locator("main button[type=submit]").click()
    page.get_by_role("link", name="Connect Python").last.click()
    expect(page.get_by_role("heading", name="Connect Python")).to_be_visible()
    assert serious_findings(page) == []
    page.get_by_role("button", name="Make a token and put it in").click()
    expect(page.get_by_text("It is shown this once")).to_be_visible()
    page.get_by_role("button", name="Copy").nth(1).click()
    pasted = str(page.evaluate("navigator.clipboard.readText()"))
    assert pasted.startswith(f"export FLOWWATCH_URL={live_server.url}\nexport FLOWWATCH_TOKEN=fw_")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert serious_findings(page) == []
    page.reload()
    expect(page.get_by_role("button", name="Make a token and put it in")).to_be_visible()
    context.close()
    assert troubles == []
