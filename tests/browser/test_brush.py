"""Dragging over the histogram narrows the list to that time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.browser.chromium import watch
from tests.monitoring.counted import message, record
from tests.monitoring.factories import make_environment, make_member, make_tenant, make_workflow

MAIL, PASSWORD = "ada@example.com", "right-horse-battery"


@pytest.fixture
def page(browser: Browser, live_server: LiveServer) -> Iterator[Page]:
    """The list of executions with eight bars, one for each of eight hours."""
    tenant = make_tenant(slug="north")
    make_member(tenant, email=MAIL)
    workflow = make_workflow(make_environment(tenant), name="Invoice sync")
    now = timezone.now()
    record(*(message(workflow, now - dt.timedelta(hours=1 + 2 * n)) for n in range(8)))
    context = browser.new_context(base_url=live_server.url)
    page = context.new_page()
    troubles = watch(page)
    page.goto("/sign-in/")
    page.get_by_label("Mail address").fill(MAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/t/north/")
    page.goto("/t/north/executions/?range=24h")
    expect(page.locator("[data-brush] a")).to_have_count(8)
    page.wait_for_load_state("networkidle")  # the script comes after the bars
    yield page
    context.close()
    assert troubles == []


def middle_of(page: Page, bar: int) -> tuple[float, float]:
    box = page.locator("[data-brush] a").nth(bar).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def times_of(address: str | None) -> dict[str, list[str]]:
    assert address is not None
    return parse_qs(urlsplit(address).query)


@pytest.mark.parametrize(("first", "last"), [(2, 5), (5, 2)])
def test_dragging_over_bars_shows_their_time(page: Page, first: int, last: int) -> None:
    bars = page.locator("[data-brush] a")
    start = times_of(bars.nth(2).get_attribute("href"))["start"]
    end = times_of(bars.nth(5).get_attribute("href"))["end"]
    page.mouse.move(*middle_of(page, first))
    page.mouse.down()
    page.mouse.move(*middle_of(page, last), steps=5)
    expect(page.locator("[data-brush] a.brushed")).to_have_count(4)
    page.mouse.up()
    page.wait_for_url("**end=**")
    assert times_of(page.url) == {"start": start, "end": end}
    expect(page.locator("tbody tr")).to_have_count(4)


def test_the_bars_are_one_stop_and_arrows_go_through_them(page: Page) -> None:
    expect(page.locator("[data-brush] a[tabindex='0']")).to_have_count(1)
    bars = page.locator("[data-brush] a")
    bars.nth(7).focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(bars.nth(5)).to_be_focused()
    expect(page.locator("[data-brush] a[tabindex='0']")).to_have_count(1)
    page.get_by_role("link", name="Skip to list").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#rows') !== null")


def test_escape_takes_the_drag_back_and_a_click_takes_one_bar(page: Page) -> None:
    page.mouse.move(*middle_of(page, 1))
    page.mouse.down()
    page.mouse.move(*middle_of(page, 4), steps=5)
    page.keyboard.press("Escape")
    expect(page.locator("[data-brush] a.brushed")).to_have_count(0)
    page.mouse.up()
    assert "end=" not in page.url
    only = times_of(page.locator("[data-brush] a").nth(3).get_attribute("href"))
    page.mouse.click(*middle_of(page, 3))
    page.wait_for_url("**end=**")
    assert times_of(page.url) == only
