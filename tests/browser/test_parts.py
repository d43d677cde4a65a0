"""The interactive parts (static/js) under the product's own content security policy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from tests.browser.axe import serious_findings
from tests.browser.chromium import watch


@pytest.fixture
def page(browser: Browser, live_server: LiveServer, settings: Settings) -> Iterator[Page]:
    """The page of parts; the test fails when anything happened on it that must never happen."""
    settings.ROOT_URLCONF = "tests.browser.parts_urls"
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, base_url=live_server.url, reduced_motion="reduce"
    )
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    troubles = watch(page)
    page.goto("/parts/")
    yield page
    context.close()
    assert [line for line in troubles if not line.startswith("503 ")] == []


def tree(page: Page) -> None:
    page.locator("#tree").scroll_into_view_if_needed()
    page.get_by_role("tree", name="Input").wait_for()


def clipboard(page: Page) -> str:
    return str(page.evaluate("navigator.clipboard.readText()"))


def shift(page: Page) -> float:
    """Return how much has moved by itself so far."""
    return float(
        page.evaluate(
            "new Promise((done) => { let sum = 0; new PerformanceObserver((list) => {"
            " for (const entry of list.getEntries()) sum += entry.value;"
            " }).observe({ type: 'layout-shift', buffered: true });"
            " setTimeout(() => done(sum), 300); })"
        )
    )


def test_the_legend_of_a_chart_has_its_place_on_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 900})
    page.reload()
    page.locator(".js-plotly-plot .main-svg").first.wait_for()
    expect(page.locator(".legend").first).to_be_visible()
    assert shift(page) < 0.01


def test_charts_are_drawn_in_place_and_say_what_is_missing(page: Page) -> None:
    page.locator(".js-plotly-plot .main-svg").first.wait_for()
    plots = page.locator(".chart-plot")
    assert plots.first.bounding_box() is not None
    expect(plots.first).to_contain_text("no data")
    page.locator("[data-chart-title=Broken]").scroll_into_view_if_needed()
    expect(page.locator("[data-chart-title=Nothing]")).to_contain_text("Nothing in this range.")
    expect(page.locator("[data-chart-title=Broken]")).to_contain_text("answered 503. Try again")
    assert shift(page) < 0.05


def test_a_chart_shows_its_numbers_as_a_table_with_links(page: Page) -> None:
    page.get_by_role("button", name="Duration as a table").click()
    table = page.get_by_role("region", name="Duration")
    expect(table).to_contain_text("3 min 07 s")
    expect(table).to_contain_text("no data")
    page.get_by_role("button", name="Executions as a table").click()
    table = page.get_by_role("region", name="Executions")
    expect(table.get_by_role("columnheader").nth(2)).to_have_text(
        "<img src=x onerror=alert(1)><script>alert(2)</script>"
    )
    table.get_by_role("link", name="21 Nov 03:00").click()
    page.wait_for_url("**/parts/done?hour=3")


def test_a_mark_stands_at_its_time_within_the_bar_of_its_step(page: Page) -> None:
    page.locator(".js-plotly-plot .main-svg").first.wait_for()
    plot = page.locator(".chart-plot").first
    place = """(plot) => {
        const box = (selector, n) => plot.querySelectorAll(selector)[n].getBoundingClientRect();
        const bar = box(".trace.bars path", 20);
        const lines = [...plot.querySelectorAll(".shapelayer path")];
        const mark = lines.find((line) => line.style.strokeDasharray).getBoundingClientRect();
        const middle = mark.left + mark.width / 2;
        return (middle - bar.left) / bar.width;
    }"""
    share = plot.evaluate(place)
    assert 0.6 < share < 0.8, "40 minutes into the bar of an hour"


def test_what_grows_to_the_right_opens_there(page: Page) -> None:
    left = page.locator("#wide").evaluate(
        "(box) => [box.scrollLeft, box.scrollWidth - box.clientWidth]"
    )
    assert left[0] == left[1] > 0


def test_a_click_on_a_bar_leads_to_its_list(page: Page) -> None:
    page.locator(".js-plotly-plot .main-svg").first.wait_for()
    box = page.locator(".chart-plot").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 30, box["y"] + 150)
    expect(page.locator(".hoverlayer").first).to_contain_text("23:00")
    page.mouse.click(box["x"] + box["width"] - 30, box["y"] + 150)
    page.wait_for_url("**/parts/done?hour=23")


def test_charts_are_drawn_again_in_the_colours_of_the_other_theme(page: Page) -> None:
    bar = page.locator(".bars path").nth(20)
    bar.wait_for()
    before = bar.evaluate("(path) => path.style.fill")
    page.emulate_media(color_scheme="dark")
    expect(bar).not_to_have_css("fill", before)


def test_the_tree_shows_hostile_data_as_text_and_marks_as_words(page: Page) -> None:
    tree(page)
    shown = page.locator("#tree")
    expect(shown).to_contain_text('"<img src=x onerror=alert(1)><script>alert(2)</script>"')
    expect(shown).to_contain_text("__proto__")
    expect(shown).to_contain_text("bearer hidden · 3f9a")
    expect(shown).to_contain_text("cut here: 2.0 MB were sent")
    expect(shown).to_contain_text("12345678901234567890")
    assert shown.locator("img, script").count() == 0


def test_long_texts_and_long_lists_come_in_pieces(page: Page) -> None:
    tree(page)
    page.get_by_role("button", name="more letters").click()
    assert page.get_by_role("button", name="more letters").count() == 0
    page.get_by_role("treeitem", name="rows").locator(".json-line").first.click()
    assert page.locator("#tree .json-node").count() < 140
    page.get_by_text("Show 100 more of 1").click()
    expect(page.get_by_role("treeitem", name="199: {2}")).to_be_visible()


def test_search_finds_what_was_never_opened(page: Page) -> None:
    tree(page)
    search = page.get_by_role("searchbox", name="Search in Input")
    search.fill("street 199")
    expect(page.locator(".json-found")).to_have_text("1 of 11")
    search.press("Enter")
    expect(page.locator(".json-found")).to_have_text("2 of 11")
    expect(page.locator(".json-line.hit")).to_contain_text("Street 1990")
    assert page.locator("#tree .json-node").count() < 500, "only what is near was made"
    search.fill("not there")
    expect(page.locator(".json-found")).to_have_text("nothing found")


def test_the_tree_is_walked_and_copied_by_keyboard(page: Page) -> None:
    tree(page)
    page.locator("#tree .json-node[tabindex='0']").focus()
    for key in ("End", "ArrowRight", "ArrowDown", "ArrowRight", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    page.keyboard.press("p")
    expect(page.locator("#live")).to_have_text("Copied.")
    assert clipboard(page) == "$.rows[0].street"
    page.keyboard.press("c")
    page.wait_for_function("async () => await navigator.clipboard.readText() === 'Street 0'")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    focused = page.evaluate("document.activeElement.getAttribute('aria-expanded')")
    assert focused == "false", "left closes the branch that the value stands in"


def test_rows_are_walked_and_opened_by_keyboard(page: Page) -> None:
    for key in ("j", "j", "k", "j"):
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    page.wait_for_url("**/parts/#second")


def test_help_opens_and_closes_and_gives_the_focus_back(page: Page) -> None:
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_hidden()


def test_code_is_copied(page: Page) -> None:
    page.locator(".code").get_by_role("button", name="Copy").click()
    expect(page.locator("#live")).to_have_text("Copied.")
    assert clipboard(page) == "curl it"


def test_code_is_copied_by_hand_when_the_clipboard_never_answers(page: Page) -> None:
    page.evaluate("void (navigator.clipboard.writeText = () => new Promise(() => {}))")
    page.locator(".code").get_by_role("button", name="Copy").click()
    expect(page.locator("#live")).to_have_text("Copied.")
    assert clipboard(page) == "curl it"


def test_a_script_that_does_not_arrive_is_noticed(browser: Browser) -> None:
    page = browser.new_page()
    troubles = watch(page)
    page.route("**/gone.js", lambda route: route.abort("connectionrefused"))
    page.route("**/missing.css", lambda route: route.fulfill(status=404))
    page.route(
        "http://localhost/",
        lambda route: route.fulfill(
            content_type="text/html",
            body='<script src="/gone.js"></script><link rel="stylesheet" href="/missing.css">',
        ),
    )
    page.goto("http://localhost/")
    page.close()
    assert sorted(troubles) == [
        "404 http://localhost/missing.css",
        "net::ERR_CONNECTION_REFUSED http://localhost/gone.js",
    ]


def test_an_act_that_cannot_be_undone_is_asked_first(page: Page) -> None:
    page.get_by_role("button", name="Delete it").click()
    question = page.get_by_role("dialog", name="Are you sure?")
    expect(question).to_contain_text("It goes away.")
    question.get_by_role("button", name="Cancel").click()
    assert page.url.endswith("/parts/")
    page.get_by_role("button", name="Delete it").click()
    question.get_by_role("button", name="Delete it").click()
    page.wait_for_url("**/parts/done")


def test_a_page_is_shown_in_a_dialog_and_its_form_sent_to_it(page: Page) -> None:
    page.get_by_role("link", name="Add an hour").click()
    dialog = page.get_by_role("dialog", name="New hour")
    expect(dialog.get_by_role("spinbutton", name="Hour")).to_be_focused()
    assert page.url.endswith("/parts/")
    dialog.get_by_role("link", name="Cancel").click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("link", name="Add an hour")).to_be_focused()
    assert page.url.endswith("/parts/")
    page.get_by_role("link", name="Add an hour").click()
    dialog.get_by_role("spinbutton", name="Hour").fill("7")
    dialog.get_by_role("button", name="Add").click()
    page.wait_for_url("**/parts/form")
    expect(page.locator("body")).to_have_text("hour 7")


def test_what_was_wrong_in_a_dialog_is_shown_as_a_page(page: Page) -> None:
    page.get_by_role("link", name="Add an hour").click()
    page.get_by_role("spinbutton", name="Hour").fill("99")
    page.get_by_role("button", name="Add").click()
    page.wait_for_url("**/parts/form")
    expect(page.get_by_role("spinbutton", name="Hour")).to_have_value("99")
    expect(page.get_by_role("spinbutton", name="Hour")).to_be_focused()
    assert serious_findings(page) == []


def test_an_act_of_a_page_in_a_dialog_is_asked_first(page: Page) -> None:
    page.get_by_role("link", name="Add an hour").click()
    page.get_by_role("button", name="End it").click()
    question = page.get_by_role("dialog", name="Are you sure?")
    expect(question).to_contain_text("It ends.")
    assert serious_findings(page) == []
    question.get_by_role("button", name="End it").click()
    page.wait_for_url("**/parts/form")
    expect(page.locator("body")).to_have_text("hour ended")


def test_a_page_that_cannot_be_shown_in_a_dialog_is_visited(page: Page) -> None:
    page.get_by_role("link", name="No page").click()
    page.wait_for_url("**/parts/done")


def test_a_page_for_a_dialog_is_a_page_without_script(
    browser: Browser, live_server: LiveServer, settings: Settings
) -> None:
    settings.ROOT_URLCONF = "tests.browser.parts_urls"
    page = browser.new_page(java_script_enabled=False, base_url=live_server.url)
    page.goto("/parts/")
    page.get_by_role("link", name="Add an hour").click()
    expect(page.get_by_role("heading", name="New hour")).to_be_visible()
    page.get_by_role("link", name="Cancel").click()
    page.wait_for_url("**/parts/")
    page.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Page, width: int, theme: str) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.locator(".js-plotly-plot .main-svg").first.wait_for()
    tree(page)
    assert serious_findings(page) == []
