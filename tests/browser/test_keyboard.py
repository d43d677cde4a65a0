"""Everything that a person does with a mouse can be done with the keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from monitoring.models import Execution
from monitoring.words import Status
from tenants.models import Role
from tests.browser.chromium import watch
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
def failed(live_server: LiveServer) -> Execution:
    """Return a failed execution with a node that has an input, in a tenant of Ada's."""
    tenant = make_tenant(slug="north")
    make_member(tenant, Role.OPERATOR, email=MAIL)
    workflow = make_workflow(make_environment(tenant), name="Invoice sync")
    read = NodeSpec("read", output=[{"order": 4711}])
    charge = NodeSpec(
        "charge",
        Status.FAILED,
        starts_ms=100,
        error_message="Card declined",
        input=[{"order": 4711, "total": 129.9}],
        fields={"name": "Charge card"},
    )
    make_execution(workflow, Status.SUCCESS, nodes=[read])
    return make_execution(
        workflow, Status.FAILED, nodes=[read, charge], error_message="Card declined"
    )


@pytest.fixture
def page(browser: Browser, live_server: LiveServer) -> Iterator[Page]:
    """Open a window without a mouse; nothing that must never happen may happen in it."""
    context = browser.new_context(base_url=live_server.url)
    page = context.new_page()
    troubles = watch(page)
    yield page
    context.close()
    assert troubles == []


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def focused(page: Page) -> str:
    """Return the words of what has the focus."""
    return str(
        page.evaluate(
            "(document.activeElement.ariaLabel || document.activeElement.innerText || '').trim()"
        )
    )


def tab_to(page: Page, words: str, most: int = 60) -> None:
    """Press Tab until the focus is on what begins with `words`; each stop on the way is visible."""
    stops = []
    for _ in range(most):
        page.keyboard.press("Tab")
        stops.append(focused(page))
        assert page.evaluate(
            "() => { const at = document.activeElement;"
            " return at === document.body || at.role === 'treeitem'"
            " || getComputedStyle(at).outlineStyle !== 'none'; }"
        ), f"The focus on “{stops[-1]}” can't be seen."
        if stops[-1].startswith(words):
            return
    raise AssertionError(f"Tab never came to “{words}”, but to {stops}")


def sign_in(page: Page) -> None:
    page.goto("/sign-in/")
    page.keyboard.type(MAIL)
    press(page, "Tab")
    page.keyboard.type(PASSWORD)
    press(page, "Enter")
    page.wait_for_url("**/t/north/")


def test_from_sign_in_to_the_input_of_a_failed_node(page: Page, failed: Execution) -> None:
    sign_in(page)
    press(page, "g", "e")
    page.wait_for_url("**/t/north/executions/**")
    press(page, "j")
    assert focused(page) == "Invoice sync"
    press(page, "Enter")
    page.wait_for_url(f"**/{failed.pk}/**")
    expect(page.get_by_role("heading", level=1)).to_have_text("Invoice sync failed")
    tab_to(page, "Charge card")
    press(page, "Enter")
    page.wait_for_url("**node=charge**")
    expect(page.locator(":focus")).to_contain_text("Charge card")  # a swap keeps the focus
    tab_to(page, "Input")
    press(page, "Enter")
    page.wait_for_url("**part=input**")
    tree = page.get_by_role("tree")
    tree.wait_for()
    tab_to(page, "[1]")
    press(page, "ArrowDown", "ArrowDown", "ArrowDown")
    assert focused(page).startswith("total\n129.9"), "the focus stands on the value"


def test_the_skip_link_leads_past_the_menu(page: Page, failed: Execution) -> None:
    sign_in(page)
    press(page, "Tab")
    assert focused(page) == "Skip to content"
    press(page, "Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_the_palette_finds_pages_and_workflows(page: Page, failed: Execution) -> None:
    sign_in(page)
    press(page, "Control+k")
    page.keyboard.type("invoice")
    expect(page.get_by_role("option", name="Invoice sync")).to_be_visible()
    press(page, "Enter")
    page.wait_for_url("**/t/north/workflows/**")


def test_an_execution_is_found_by_its_id(page: Page, failed: Execution) -> None:
    sign_in(page)
    press(page, "Control+k")
    page.keyboard.type(str(failed.pk))
    expect(page.get_by_role("option", name="Invoice sync")).to_be_visible()
    press(page, "Enter")
    page.wait_for_url(f"**/{failed.pk}/**")


def test_brackets_go_through_the_executions_of_the_list(page: Page, failed: Execution) -> None:
    sign_in(page)
    page.goto(f"/t/north/executions/{failed.pk}/")
    press(page, "]")
    page.wait_for_url(lambda url: str(failed.pk) not in url)
    press(page, "[")
    page.wait_for_url(f"**/{failed.pk}/**")


def test_the_time_range_is_changed_and_goes_along(page: Page, failed: Execution) -> None:
    sign_in(page)
    press(page, "t")
    expect(page.locator(":focus")).to_have_text("Last 24 hours")
    press(page, "ArrowDown", "Enter")
    page.wait_for_url("**range=7d**")
    press(page, "g", "w")
    page.wait_for_url("**/workflows/**range=7d**")


def test_a_fixed_time_that_a_link_brought_stays_on_its_page(page: Page, failed: Execution) -> None:
    sign_in(page)
    page.goto("/t/north/executions/?start=2026-01-02T10:00:00Z&end=2026-01-02T10:01:08Z")
    expect(page.locator("#time-range")).to_have_text("2 Jan 10:00:00 – 10:01:08")
    page.get_by_role("link", name="Overview").first.click()
    page.wait_for_url("**/t/north/")
    expect(page.locator("#time-range")).to_have_text("Last 24 hours")
    expect(page.locator("#time-range-reset")).not_to_be_attached()


def test_a_fixed_time_that_was_chosen_goes_along_until_it_is_taken_back(
    page: Page, failed: Execution
) -> None:
    sign_in(page)
    press(page, "t")
    page.locator("#range-start").fill("2026-01-02T10:00")
    page.locator("#range-end").fill("2026-01-02T11:00")
    page.get_by_role("button", name="Show this range").click()
    page.wait_for_url("**start=**end=**")
    press(page, "g", "w")
    page.wait_for_url("**/workflows/**start=2026-01-02**")
    expect(page.locator("#time-range")).to_have_text("2 Jan 10:00 – 11:00")
    page.get_by_role("link", name="Last 24 hours").and_(page.locator("#time-range-reset")).click()
    page.wait_for_url("**range=24h**")
    press(page, "g", "o")
    page.wait_for_url("**/t/north/?range=24h")


def test_a_query_is_typed_mended_and_asked(page: Page, failed: Execution) -> None:
    sign_in(page)
    page.goto("/t/north/executions/")
    press(page, "/")
    page.keyboard.type("status:fialed card declined")
    press(page, "Enter")
    field = page.get_by_role("searchbox", name="Query")
    expect(field).to_have_value("status:fialed card declined")
    expect(page.locator("#query-error")).to_contain_text("There is no status “fialed”")
    field.fill("status:failed card declined")
    press(page, "Enter")
    page.wait_for_url("**status=failed&error=card+declined**")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("searchbox", name="Error text").fill("nothing says this")
    expect(field).to_have_value('status:failed error:"nothing says this"')
