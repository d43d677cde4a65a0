"""Pages that stay open keep up with what happens, without unrest."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from monitoring.models import Workflow
from monitoring.words import Status
from tenants.scoping import tenant_scope
from tests.browser.chromium import watch
from tests.monitoring.counted import message, record
from tests.monitoring.factories import (
    NodeSpec,
    make_environment,
    make_execution,
    make_member,
    make_tenant,
    make_workflow,
)

MAIL, PASSWORD = "ada@example.com", "right-horse-battery"


@pytest.fixture
def workflow(live_server: LiveServer) -> Workflow:
    tenant = make_tenant(slug="north")
    make_member(tenant, email=MAIL)
    return make_workflow(make_environment(tenant), name="Invoice sync")


@pytest.fixture
def page(browser: Browser, live_server: LiveServer, workflow: Workflow) -> Iterator[Page]:
    """A signed-in window whose clock the test moves."""
    context = browser.new_context(base_url=live_server.url)
    page = context.new_page()
    troubles = watch(page)
    page.goto("/sign-in/")
    page.get_by_label("Mail address").fill(MAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/t/north/")
    page.clock.install()
    yield page
    context.close()
    assert troubles == []


def test_new_executions_are_announced_and_move_nothing_until_asked_for(
    page: Page, workflow: Workflow
) -> None:
    make_execution(workflow, Status.FAILED)
    page.goto("/t/north/executions/")
    row = page.locator("tbody tr").first
    place = row.bounding_box()
    # The numbers above the list come after it; they move nothing either.
    expect(page.locator("[data-select-total]")).to_be_attached()
    assert row.bounding_box() == place
    make_execution(workflow, Status.SUCCESS, started_at=timezone.now())
    page.clock.run_for(11_000)
    bar = page.get_by_role("status").get_by_role("link", name="1 new execution: show")
    expect(bar).to_be_visible()
    assert page.locator("tbody tr").count() == 1
    assert row.bounding_box() == place
    bar.focus()
    page.clock.run_for(11_000)
    expect(bar).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.get_by_role("link", name="new execution")).to_have_count(0)


def test_a_running_execution_is_followed_to_its_end(page: Page, workflow: Workflow) -> None:
    execution = make_execution(workflow, Status.RUNNING, nodes=[NodeSpec("read")])
    page.goto(f"/t/north/executions/{execution.id}/")
    expect(page.locator("h1")).to_contain_text("is running")
    page.clock.run_for(6_000)
    expect(page.locator("#goes-on")).to_be_attached()
    execution.status = Status.FAILED
    execution.error_message = "Card declined"
    with tenant_scope(execution.tenant):
        execution.save()
    page.clock.run_for(6_000)
    expect(page.locator("h1")).to_contain_text("failed")
    expect(page.locator("#goes-on")).not_to_be_attached()


def test_the_overview_keeps_up_and_keeps_the_focus(page: Page, workflow: Workflow) -> None:
    now = timezone.now()
    record(message(workflow, now - dt.timedelta(minutes=9)))
    page.goto("/t/north/")
    expect(page.locator("h1")).to_have_text("All right")
    link = page.get_by_role("link", name="All workflows")
    link.focus()
    record(*(message(workflow, now - dt.timedelta(minutes=n), Status.FAILED) for n in range(1, 6)))
    page.clock.run_for(21_000)
    expect(page.locator("h1")).to_have_text("All right except 1 thing")
    page.clock.run_for(100)  # htmx settles by the clock
    expect(page.get_by_role("link", name="All workflows")).to_be_focused()
    expect(page.locator("#live-workflows tbody tr")).to_have_count(1)
    page.clock.run_for(21_000)
    expect(page.locator("h1")).to_have_text("All right except 1 thing")


def test_the_first_execution_shows_itself(page: Page, workflow: Workflow) -> None:
    page.goto("/t/north/executions/")
    expect(page.get_by_text("Nothing recorded yet")).to_be_visible()
    make_execution(workflow, Status.SUCCESS, started_at=timezone.now())
    page.clock.run_for(2_500)
    expect(page.locator("tbody tr")).to_have_count(1)
