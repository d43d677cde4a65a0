"""The overview as people see it: verdict, key figures, heat map, what needs a look."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from html import unescape

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from monitoring import panels
from monitoring.metrics.totals import Totals
from monitoring.models import Workflow
from monitoring.panels import Panel, Part, Place, Tab, register_panel, register_tab
from monitoring.recent import Recent
from monitoring.recording.record import ExecutionRecord
from monitoring.verdict import beginning_of_failing, fails_now, got_worse
from monitoring.words import Status
from tenants.access import TenantRequest
from tenants.models import Role, Tenant
from tests.monitoring.counted import message, record
from tests.monitoring.factories import (
    make_environment,
    make_member,
    make_tenant,
    make_workflow,
)

pytestmark = pytest.mark.django_db
PAGE = "/t/agency/"
F, S, P = Status.FAILED, Status.SUCCESS, Status.PARTIAL
# The cards of higher apps take one or two each.
QUERY_BUDGET = 24


def text_of(client: Client, address: str = PAGE) -> str:
    """The page without markup, white space folded."""
    response = client.get(address)
    assert response.status_code == 200, (address, response.status_code)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", response.content.decode())))


def run(
    workflow: Workflow, statuses: Sequence[Status], *, minutes: int = 10, until: int = 5
) -> list[ExecutionRecord]:
    """Record executions from old to new, `minutes` apart, the last one `until` minutes ago."""
    messages = run_unrecorded(workflow, statuses, minutes=minutes, until=until)
    record(*messages)
    return messages


def run_unrecorded(
    workflow: Workflow, statuses: Sequence[Status], *, minutes: int = 10, until: int = 5
) -> list[ExecutionRecord]:
    """The messages of such executions."""
    now = timezone.now()
    return [
        message(
            workflow,
            now - dt.timedelta(minutes=until + minutes * (len(statuses) - 1 - place)),
            status,
            error_message="Connection timed out" if status.is_problem else None,
        )
        for place, status in enumerate(statuses)
    ]


# --- verdict ------------------------------------------------------------------------------------


def test_a_tenant_without_executions_learns_how_to_send_one(viewer: Client) -> None:
    page = text_of(viewer)
    assert "Nothing recorded yet" in page
    assert "curl" in page
    assert "/api/executions" in page


def test_the_first_steps_ask_until_something_was_recorded(
    viewer: Client, workflow: Workflow
) -> None:
    for address in (PAGE, f"{PAGE}executions/", f"{PAGE}workflows/"):
        asked = {"HX-Request": "true", "HX-Target": "first-steps"}
        assert viewer.get(address, headers=asked).status_code == 204
    run(workflow, [S])
    assert viewer.get(PAGE, headers=asked)["HX-Refresh"] == "true"


def test_an_open_overview_is_told_cheaply_that_nothing_changed(
    viewer: Client, workflow: Workflow
) -> None:
    run(workflow, [S] * 3)
    whole = CaptureQueriesContext(connection)
    with whole:
        page = viewer.get(PAGE).content.decode()
    [stamp] = re.findall(r'"stamp": "(\w+)"', page)
    with CaptureQueriesContext(connection) as asked:
        assert viewer.get(f"{PAGE}?stamp={stamp}").status_code == 204
    assert len(asked) < len(whole) * 0.7
    run(workflow, [F])
    answer = viewer.get(f"{PAGE}?stamp={stamp}")
    assert answer.status_code == 200
    assert f'"stamp": "{stamp}"' not in answer.content.decode()


def test_an_overview_of_the_past_asks_for_nothing(viewer: Client, workflow: Workflow) -> None:
    run(workflow, [S] * 3)
    past = "start=2026-01-01T00:00:00Z&end=2026-01-02T00:00:00Z"
    assert "live-stamp" not in viewer.get(f"{PAGE}?{past}").content.decode()


def test_all_is_right_when_everything_succeeds(viewer: Client, workflow: Workflow) -> None:
    run(workflow, [S] * 12)
    page = text_of(viewer)
    assert "All right" in page
    assert "except" not in page
    assert "Nothing failed in this time" in page


def test_a_failing_workflow_is_named_with_count_beginning_error_and_version(
    viewer: Client, workflow: Workflow
) -> None:
    now = timezone.now()
    messages = [
        message(workflow, now - dt.timedelta(minutes=10 * (9 - n)), S if n < 4 else F, 1_000)
        for n in range(9)
    ]
    for place, one in enumerate(messages):
        one.version = "7" if place < 4 else "8"
        if one.status is F:
            one.error_message, one.error_node_id = "Connection timed out", "Fetch orders"
    record(*messages)
    page = text_of(viewer)
    assert "All right except 1 thing" in page
    assert "failed 5 of 5 since" in page
    assert "“Connection timed out” at Fetch orders · since version 8" in page


def test_a_version_fails_since_its_first_failure_though_a_retry_of_it_succeeded(
    viewer: Client, workflow: Workflow
) -> None:
    messages = run_unrecorded(workflow, [S, S, F, S, F, F, F, S, F])
    for place, one in enumerate(messages):
        one.version = "7" if place < 2 else "8"
    messages[6].error_message = "Disk full"
    record(*messages)
    html = viewer.get(PAGE).content.decode()
    assert "failed <b>5 of 7</b> since" in html
    assert "· mostly “Connection timed out” · since version 8" in html
    found = re.search(r'class="verdict-row" href="([^"]+)"', html)
    assert found is not None
    assert viewer.get(unescape(found[1])).content.decode().count("data-select-row") == 5


def test_when_every_failure_says_something_else_the_last_is_told_as_such(
    viewer: Client, workflow: Workflow
) -> None:
    messages = run_unrecorded(workflow, [S, F, F, F])
    for place, one in enumerate(messages):
        one.error_message = f"Order {place} is missing" if place else None
    record(*messages)
    assert "· last “Order 3 is missing”" in text_of(viewer)


def test_what_fails_now_stands_before_what_recovered(viewer: Client, tenant: Tenant) -> None:
    environment = make_environment(tenant)
    run(make_workflow(environment, name="Recovered"), [F, F, F, F, S])
    run(make_workflow(environment, name="Fails"), [S, S, S, F])
    page = text_of(viewer).split("Workflows that need a look")[1]
    assert page.index("Fails") < page.index("Recovered")


def test_the_verdict_leads_to_exactly_the_executions_that_it_counts(
    viewer: Client, workflow: Workflow
) -> None:
    run(workflow, [F, S, S, S, F, F, S, F])
    html = viewer.get(PAGE).content.decode()
    assert "failed <b>3 of 4</b>" in html
    found = re.search(r'class="verdict-row" href="([^"]+)"', html)
    assert found is not None
    listed = viewer.get(unescape(found[1])).content.decode()
    assert listed.count("data-select-row") == 3


def test_a_clearly_worse_workflow_is_told_with_both_rates(
    viewer: Client, workflow: Workflow
) -> None:
    day_before = 24 * 60
    run(workflow, [S] * 19 + [F], minutes=10, until=day_before + 60)
    run(workflow, [S, F, S, F, S, F, S, F, S, F, *[S] * 30], minutes=10)
    page = text_of(viewer)
    assert "All right except 1 thing" in page
    assert "got worse: 12.5 % failed, 5.0 % before" in page


def test_a_workflow_that_always_failed_a_lot_is_not_all_right(
    viewer: Client, workflow: Workflow
) -> None:
    run(workflow, [F, S, S] * 90, minutes=10)
    page = text_of(viewer)
    assert "fails often:" in page


def test_many_things_are_counted_and_the_worst_shown(viewer: Client, tenant: Tenant) -> None:
    environment = make_environment(tenant)
    for number in range(9):
        run(make_workflow(environment, name=f"Workflow {number}"), [F] * (number + 1))
    html = viewer.get(PAGE).content.decode()
    assert "All right except 9 things" in html
    assert html.count('class="verdict-row"') == 6
    assert "3 more in the list of workflows" in html


def test_a_quiet_time_is_no_alarm(viewer: Client, workflow: Workflow) -> None:
    run(workflow, [F, F], until=60 * 24 * 3)
    page = text_of(viewer)
    assert "Nothing ran in this time" in page


def recent(statuses: str) -> list[Recent]:
    """From "F" and "S", the newest first."""
    words = {"F": F, "S": S, "P": P}
    from monitoring.ids import new_id

    return [
        Recent(new_id(2_000_000 - n), words[letter], None, None, None)
        for n, letter in enumerate(statuses)
    ]


@pytest.mark.parametrize(
    ("newest_first", "expected"),
    [
        ("", False),
        ("S", False),
        ("F", True),
        ("P", True),
        ("FS", True),
        ("FSSS", False),
        ("SFFFFFFFFF", False),
        ("FSFSFSFSFS", True),
        ("FSSSSSSSSSFFFFFFFFFF", False),
    ],
)
def test_it_fails_now_when_the_newest_and_half_of_ten_failed(
    newest_first: str, expected: bool
) -> None:
    assert fails_now(recent(newest_first)) is expected


@pytest.mark.parametrize(
    ("newest_first", "index"),
    [
        ("F", 0),
        ("FFFSSSS", 2),
        ("FFSFFSSSSSSFFFSSS", 4),
        ("FSFFFSSSSSSSSS", 4),
        ("FFFFSSSSFSSSF", 3),
    ],
)
def test_failing_began_where_failures_outnumber_successes_most(
    newest_first: str, index: int
) -> None:
    assert beginning_of_failing(recent(newest_first)) == index


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        ((20, 5), (20, 1), True),
        ((20, 4), (20, 0), False),  # too few
        ((100, 6), (100, 2), False),  # under five points
        ((100, 30), (100, 20), False),  # not doubled
        ((100, 30), (0, 0), False),  # nothing to compare with
    ],
)
def test_clearly_worse_means_doubled_and_five_points_more(
    now: tuple[int, int], before: tuple[int, int], expected: bool
) -> None:
    def totals(finished: int, failed: int) -> Totals:
        counts = [0] * len(Status)
        counts[F], counts[S] = failed, finished - failed
        return Totals(tuple(counts))

    assert got_worse(totals(*now), totals(*before)) is expected


# --- figures ------------------------------------------------------------------------------------


def test_the_figures_count_the_range_and_compare_it_with_the_one_before(
    viewer: Client, workflow: Workflow
) -> None:
    run(workflow, [S] * 10, minutes=5, until=60 * 24 + 10)
    run(workflow, [S] * 15 + [F] * 5, minutes=5)
    page = text_of(viewer)
    assert "20 finished, 5 failed" in page
    assert "Failed ÷ (success + failed + partial) = 5 ÷ 20." in page
    assert "25.0 %" in page
    assert "more by 100 % to the 24 hours before" in page


def test_what_is_under_way_is_shown_whatever_the_range(viewer: Client, workflow: Workflow) -> None:
    now = timezone.now()
    record(
        message(workflow, now - dt.timedelta(minutes=3), Status.RUNNING, None),
        message(workflow, now - dt.timedelta(days=3), Status.WAITING, None),
    )
    page = text_of(viewer, f"{PAGE}?range=1h")
    assert "1 running · 1 waiting" in page


def test_hours_of_the_heat_map_are_those_of_the_person(
    tenant: Tenant, workflow: Workflow, client: Client
) -> None:
    monday = timezone.now().replace(hour=23, minute=30, second=0, microsecond=0)
    monday -= dt.timedelta(days=monday.weekday() + 7)
    record(message(workflow, monday, F))
    for zone, expected in (("UTC", "Mon 23–00 h: 1"), ("Asia/Kathmandu", "Tue 05–06 h: 1")):
        client.force_login(make_member(tenant, time_zone=zone))
        html = unescape(client.get(f"{PAGE}?range=30d").content.decode())
        assert f'title="{expected} of 1 failed"' in html


def test_nonsense_in_the_address_gives_the_default_and_says_so(
    viewer: Client, workflow: Workflow
) -> None:
    run(workflow, [S])
    for query in ("range=99y", "start=yesterday", "start=2026-11-03T10:00&end=2026-11-02T10:00"):
        page = unescape(viewer.get(f"{PAGE}?{query}", follow=True).content.decode())
        assert "Shown instead: last 24 hours" in page.split('id="main"')[1].split("</main>")[0]


# --- what holds for the whole page ----------------------------------------------------------------


def test_another_tenants_numbers_do_not_count(viewer: Client, workflow: Workflow) -> None:
    other = make_workflow(make_environment(make_tenant("other")), name="Secret flow")
    run(other, [F] * 5)
    run(workflow, [S])
    page = text_of(viewer)
    assert "Secret flow" not in page
    assert "1 finished, 0 failed" in page


def test_queries_do_not_grow_with_workflows(
    viewer: Client, tenant: Tenant, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    environment = make_environment(tenant)
    for number in range(30):
        run(make_workflow(environment, name=f"Workflow {number}"), [S, F, F])
    with django_assert_max_num_queries(QUERY_BUDGET):
        viewer.get(PAGE)


@pytest.fixture
def own_panels() -> Iterator[None]:
    """Take back what a test registers."""
    before = {place: dict(panels._panels[place]) for place in Place}
    tabs = {place: dict(panels._tabs[place]) for place in Place}
    yield
    for place in Place:
        panels._panels[place] = before[place]
        panels._tabs[place] = tabs[place]


@pytest.mark.usefixtures("own_panels")
def test_a_higher_app_adds_its_panel_for_those_who_may_see_it(
    tenant: Tenant, workflow: Workflow, viewer: Client
) -> None:
    def part(request: TenantRequest, subject: Tenant) -> Part:
        assert subject == tenant
        return Part("monitoring/workflow_settings.html", {"count": 4711, "clear_url": "/x/"})

    register_panel(Place.OVERVIEW, Panel("findings", part, rank=10))
    register_panel(Place.OVERVIEW, Panel("nothing to say", lambda r, s: None, rank=20))
    register_panel(Place.OVERVIEW, Panel("secret", part, rank=30, role=Role.OWNER))
    run(workflow, [S])
    assert text_of(viewer).count("4 711") == 1


@pytest.mark.usefixtures("own_panels")
def test_a_tab_of_a_higher_app_opens_on_the_workflow(workflow: Workflow, viewer: Client) -> None:
    def part(request: TenantRequest, subject: Workflow) -> Part:
        return Part("monitoring/workflow_settings.html", {"count": subject.pk, "clear_url": "/x/"})

    register_tab(Place.WORKFLOW, Tab("findings", "Findings", part, rank=50))
    address = f"{PAGE}workflows/{workflow.pk}/"
    assert "Findings" in text_of(viewer, address)
    assert "Clear the history" in text_of(viewer, f"{address}?tab=findings")


@pytest.mark.usefixtures("own_panels")
def test_a_key_is_taken_once() -> None:
    register_panel(Place.OVERVIEW, Panel("mine", lambda r, s: None, rank=1))
    with pytest.raises(ValueError, match="'mine' already"):
        register_panel(Place.OVERVIEW, Panel("mine", lambda r, s: None, rank=2))
