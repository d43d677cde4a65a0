"""The list of executions as people see it."""

from __future__ import annotations

import datetime as dt
import re
from html import unescape
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from monitoring import history
from monitoring.models import ErrorGroup, Execution, Workflow
from monitoring.words import Status
from tenants.models import ApiToken, Role, Tenant
from tenants.scoping import tenant_scope
from tests.monitoring.counted import message, record
from tests.monitoring.factories import (
    make_environment,
    make_execution,
    make_executions,
    make_member,
    make_tenant,
    make_workflow,
    record_executions_of,
)

pytestmark = pytest.mark.django_db
LIST = "/t/agency/executions/"


def get(client: Client, address: str, **headers: str) -> str:
    response = client.get(address, headers=headers, follow=True)
    assert response.status_code == 200, (address, response.status_code)
    return unescape(response.content.decode())


def shown(page: str) -> list[str]:
    """Ids of the rows on a page, in order."""
    return re.findall(r'type="checkbox" name="id" value="([0-9a-f-]{36})"', page)


def test_rows_say_what_ran_and_why_it_failed(viewer: Client, workflow: Workflow) -> None:
    make_execution(
        workflow,
        Status.FAILED,
        error_message="Connection timed out\nafter 30000 ms",
        error_node_name="Fetch orders",
        duration_ms=30_000,
        version="8",
        attempt=2,
        node_count=7,
        node_done_count=4,
    )
    page = get(viewer, LIST)
    for text in (
        "Invoice sync",
        "n8n EU",
        "webhook",
        "30.0 s",
        "4/7",
        "Fetch orders: Connection timed out after 30000 ms",
    ):
        assert text in page


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"failed", "success", "running"}),
        ("?status=failed", {"failed"}),
        ("?status=failed&status=running", {"failed", "running"}),
        ("?status=nonsense", set()),
        ("?status=failed&status=nonsense", set()),
        ("?error=timed+out", {"failed"}),
        ("?min=10s", {"failed"}),
        ("?max=1s", {"success"}),
        ("?min=soon", set()),
        ("?trigger=form", {"running"}),
        ("?workflow=invoice", {"failed", "success", "running"}),
        ("?workflow=nobody", set()),
        ("?environment=999999", set()),
        ("?range=1h", {"failed", "success", "running"}),
        ("?start=2020-01-01T00:00&end=2020-01-02T00:00", set()),
        ("?fingerprint=zz", set()),
        ("?version=%00", set()),
        ("?workflow=99999999999999999999", set()),
    ],
)
def test_filters_narrow_the_list(
    viewer: Client, workflow: Workflow, query: str, expected: set[str]
) -> None:
    ids = {
        str(
            make_execution(
                workflow, Status.FAILED, error_message="timed out", duration_ms=30_000
            ).id
        ): "failed",
        str(make_execution(workflow, duration_ms=900).id): "success",
        str(make_execution(workflow, Status.RUNNING, trigger_type="form").id): "running",
    }
    assert {ids[one] for one in shown(get(viewer, LIST + query))} == expected


def test_a_workflow_is_chosen_by_number_or_name(
    viewer: Client, tenant: Tenant, workflow: Workflow
) -> None:
    twin = make_workflow(make_environment(tenant, name="n8n US"), name="Invoice sync")
    mine, other = make_execution(workflow), make_execution(twin)
    assert shown(get(viewer, f"{LIST}?workflow={workflow.pk}")) == [str(mine.id)]
    both = get(viewer, f"{LIST}?workflow=Invoice+sync")
    assert set(shown(both)) == {str(mine.id), str(other.id)}
    suggested = get(
        viewer,
        f"{LIST}?workflow=invoice",
        **{"HX-Request": "true", "HX-Target": "filter-workflows"},
    )
    assert 'value="Invoice sync · n8n US"' in suggested
    assert shown(get(viewer, f"{LIST}?workflow=Invoice+sync+·+n8n+US")) == [str(other.id)]


def test_pages_follow_by_cursor(viewer: Client, workflow: Workflow) -> None:
    ids = [str(one) for one in make_executions(workflow, 120)]
    first = get(viewer, f"{LIST}?status=success")
    assert shown(first) == ids[:50]
    older = re.search(r'rel="next" href="(\?[^"]+)"', first)
    assert older is not None
    assert "status=success" in older[1]
    second = get(viewer, LIST + older[1])
    assert shown(second) == ids[50:100]
    newer = re.search(r'rel="prev" href="(\?[^"]+)"', second)
    assert newer is not None
    assert shown(get(viewer, LIST + newer[1])) == ids[:50]


def test_a_broken_cursor_is_a_bad_request(viewer: Client, workflow: Workflow) -> None:
    assert viewer.get(f"{LIST}?after=nonsense").status_code == 400


def test_a_search_that_stopped_says_how_far_it_came(
    viewer: Client, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history.reading, "SCAN_ROWS", 20)
    monkeypatch.setattr(history.reading, "FIRST_SLICE", 10)
    make_executions(workflow, 50)
    page = get(viewer, f"{LIST}?trigger=form")
    assert "Nothing found searching back to" in page
    assert "Continue further back" in page


@pytest.mark.parametrize("target", ["", "list", "shape", "filter-workflows"])
@pytest.mark.parametrize(
    "name", ["error", "workflow", "trigger", "version", "min", "range", "start"]
)
def test_no_parameter_breaks_the_page(
    viewer: Client, workflow: Workflow, name: str, target: str
) -> None:
    make_execution(workflow, Status.FAILED, error_message="no")
    for value in ("\0", "%", "\\", "'", "é" * 400, "9" * 400, "\ud83d", "-1", "[]"):
        answer = viewer.get(
            LIST, {name: value.encode("utf-8", "replace")}, headers={"HX-Target": target}
        )
        assert answer.status_code == 200, (name, value)


def test_htmx_gets_the_list_alone(viewer: Client, workflow: Workflow) -> None:
    execution = make_execution(workflow)
    part = get(viewer, LIST, **{"HX-Request": "true", "HX-Target": "list"})
    assert shown(part) == [str(execution.id)]
    assert "<html" not in part
    assert 'id="time-range-slot"' in part


def test_the_histogram_comes_after_with_the_total(viewer: Client, workflow: Workflow) -> None:
    record_executions_of(workflow, 12)
    part = get(viewer, f"{LIST}?range=1h", **{"HX-Request": "true", "HX-Target": "shape"})
    assert "12 match" in part
    for form in ("csv", "ndjson"):
        assert re.search(rf'href="[^"]*/export\.{form}[^"]*range=1h[^"]*" download>', part)
    assert re.search(r'<a href="\?[^"]*start=[^"]+" aria-label="[^"]*12 success', part)
    by_error = get(viewer, f"{LIST}?error=no", **{"HX-Request": "true", "HX-Target": "shape"})
    assert "0 match" in by_error
    assert "No chart: counts by hour are known for" in by_error
    assert "No chart" not in part


def test_no_match_names_the_filters_and_offers_to_clear_them(
    viewer: Client, workflow: Workflow
) -> None:
    make_execution(workflow)
    page = get(viewer, f"{LIST}?status=failed&workflow={workflow.pk}")
    assert "No execution matches" in page
    assert "status: failed" in page
    assert "workflow: Invoice sync" in page
    assert "Clear the filters" in page


def test_queries_do_not_grow_with_rows(
    viewer: Client, workflow: Workflow, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    make_executions(workflow, 60)
    get(viewer, LIST)  # the session notes its use once a minute
    with django_assert_max_num_queries(9):
        get(viewer, LIST)
    with django_assert_max_num_queries(12):
        get(viewer, f"{LIST}?workflow={workflow.pk}&status=failed&error=timed+out&min=1s")


@pytest.mark.parametrize("page", ["", "executions/", "workflows/"])
def test_a_range_without_offset_becomes_one_that_means_the_same_to_everybody(
    client: Client, tenant: Tenant, page: str
) -> None:
    person = make_member(tenant)
    person.time_zone = "Asia/Tokyo"
    person.save()
    client.force_login(person)
    address = f"/t/agency/{page}"
    asked = {"start": "2026-11-10T08:00", "end": "2026-11-11", "status": "failed"}
    answer = client.get(address, asked)
    assert answer.status_code == 302
    fixed = dict(parse_qsl(urlsplit(answer["Location"]).query))
    assert fixed["status"] == "failed"
    assert dt.datetime.fromisoformat(fixed["start"]) == dt.datetime(2026, 11, 9, 23, tzinfo=dt.UTC)
    assert dt.datetime.fromisoformat(fixed["end"]) == dt.datetime(2026, 11, 11, 15, tzinfo=dt.UTC)
    assert client.get(answer["Location"]).status_code == 200
    assert client.get(address, {"start": "2026-11-10T08:00+01:00"}).status_code == 200


def test_another_tenants_list_is_unknown(viewer: Client, workflow: Workflow) -> None:
    stranger = make_tenant("stranger")
    foreign = make_execution(make_workflow(make_environment(stranger)))
    assert viewer.get("/t/stranger/executions/").status_code == 404
    assert str(foreign.id) not in get(viewer, LIST)
    assert str(foreign.id) not in get(viewer, f"{LIST}?workflow={foreign.workflow_id}")


def test_an_empty_tenant_sees_the_command_and_whom_to_ask(tenant: Tenant, viewer: Client) -> None:
    make_member(tenant, Role.OWNER, name="Olga Owner")
    page = get(viewer, LIST)
    assert "Nothing recorded yet" in page
    assert "Authorization: Bearer $FLOWWATCH_TOKEN" in page
    assert "/api/executions" in page
    assert "Olga Owner" in page
    assert "Make a token" not in page


def test_an_admin_makes_a_token_that_is_shown_once(tenant: Tenant, admin: Client) -> None:
    assert "Make a token" in get(admin, LIST)
    page = unescape(admin.post(f"{LIST}token/", follow=True).content.decode())
    secret = re.search(r"Bearer (fw_\w+)", page)
    assert secret is not None
    with tenant_scope(tenant):
        token = ApiToken.objects.get()
    assert token.scopes == ["ingest"]
    assert secret[1] not in get(admin, LIST)


def test_a_viewer_can_make_no_token(tenant: Tenant, viewer: Client) -> None:
    assert viewer.post(f"{LIST}token/").status_code == 403
    with tenant_scope(tenant):
        assert not ApiToken.objects.exists()


def test_hostile_texts_are_shown_as_text(viewer: Client, tenant: Tenant) -> None:
    script = "<script>alert(1)</script>"
    workflow = make_workflow(make_environment(tenant, name=script), name=script)
    make_execution(
        workflow,
        Status.FAILED,
        error_message=script,
        error_node_name=script,
        trigger_type=script,
        version=script,
    )
    response = viewer.get(LIST, {"error": script, "workflow": script, "trigger": script})
    assert script not in response.content.decode()


def test_going_on_is_shown_instead_of_a_duration(viewer: Client, workflow: Workflow) -> None:
    begun = timezone.now() - dt.timedelta(minutes=3, seconds=7)
    make_execution(workflow, Status.RUNNING, started_at=begun)
    lost = make_execution(workflow, Status.RUNNING, started_at=begun)
    with tenant_scope(workflow.tenant):
        heard = begun + dt.timedelta(minutes=2, seconds=5)
        Execution.objects.filter(id=lost.id).update(lost_contact_at=heard)
    page = get(viewer, LIST)
    assert "3 min 0" in page
    assert "2 min 05 s" in page, "of one that lost contact nobody knows how it went on"
    assert 'aria-label="Lost contact"' in page


def test_what_lost_contact_is_found_as_if_it_were_a_status(
    viewer: Client, workflow: Workflow
) -> None:
    _running, lost, _failed = (
        make_execution(workflow, status, trigger_type=f"by-{name}")
        for name, status in (
            ("running", Status.RUNNING),
            ("lost", Status.RUNNING),
            ("failed", Status.FAILED),
        )
    )
    with tenant_scope(workflow.tenant):
        Execution.objects.filter(id=lost.id).update(lost_contact_at=timezone.now())

    def shown(query: str) -> set[str]:
        return set(re.findall(r"by-(\w+)", get(viewer, f"{LIST}?{query}")))

    assert shown("status=lost") == {"lost"}
    assert shown("status=lost&status=failed") == {"lost", "failed"}
    assert shown("status=lost&status=running") == {"lost", "running"}
    assert shown("status=lost&workflow=Invoice+sync&trigger=by-lost") == {"lost"}
    asked = viewer.get(LIST, {"q": "status:lost"})
    assert asked["Location"] == f"{LIST}?status=lost"
    page = get(viewer, f"{LIST}?status=lost")
    assert 'value="status:lost"' in page
    assert "status: lost contact" in page


def test_what_came_since_is_counted_within_the_filter_and_never_on_later_pages(
    viewer: Client, workflow: Workflow, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    make_executions(workflow, 60, status=Status.FAILED)
    page = get(viewer, LIST + "?status=failed")
    address = news_address(page)
    assert viewer.get(address, headers=NEWS).status_code == 204
    make_execution(workflow, Status.FAILED, started_at=timezone.now())
    make_execution(workflow, Status.SUCCESS, started_at=timezone.now())
    with django_assert_max_num_queries(6):
        answer = viewer.get(address, headers=NEWS)
    said = unescape(answer.content.decode())
    assert "1 new" in said
    assert 'href="?status=failed"' in said
    assert viewer.get(address + "&shown=1", headers=NEWS).status_code == 204, "said already"
    older = re.search(r'rel="next" href="([^"]+)"', page)
    assert older is not None
    assert 'id="news"' not in get(viewer, LIST + older[1])
    assert 'id="news"' not in get(viewer, LIST + "?start=2020-01-01T00:00&end=2030-01-01T00:00")


@pytest.mark.parametrize("number", [1, 60])
def test_what_began_before_the_newest_row_is_new_when_it_is_told_later(
    viewer: Client, workflow: Workflow, number: int
) -> None:
    make_executions(workflow, number, status=Status.FAILED)
    begun = timezone.now() - dt.timedelta(seconds=30)
    running = make_execution(workflow, Status.RUNNING, started_at=begun)
    make_execution(workflow, Status.FAILED, started_at=timezone.now())
    address = news_address(get(viewer, LIST + "?status=failed"))
    assert viewer.get(address, headers=NEWS).status_code == 204
    with tenant_scope(workflow.tenant):
        Execution.objects.filter(id=running.id).update(status=Status.FAILED)
    make_execution(workflow, Status.FAILED, started_at=begun)
    answer = viewer.get(address, headers=NEWS)
    assert "2 new" in answer.text
    assert 'href="?status=failed"' in answer.text


def test_more_than_99_new_ones_end_the_asking(viewer: Client, workflow: Workflow) -> None:
    make_execution(workflow)
    address = news_address(get(viewer, LIST))
    make_executions(workflow, 101)
    answer = viewer.get(address, headers=NEWS)
    assert (answer.status_code, b"99+ new" in answer.content) == (286, True)


def test_the_first_execution_of_an_empty_list_is_noticed(
    viewer: Client, workflow: Workflow
) -> None:
    address = news_address(get(viewer, LIST))
    make_execution(workflow, started_at=timezone.now())
    assert b"1 new" in viewer.get(address, headers=NEWS).content
    for broken in (
        LIST + "?since=nonsense",
        LIST + "?since=",
        f"{address}&rows=-1",
        f"{address}&from=x",
    ):
        assert viewer.get(broken, headers=NEWS).status_code == 400, broken


def test_the_query_bar_sets_the_filters(viewer: Client, workflow: Workflow) -> None:
    make_execution(workflow)
    asked = 'status:failed workflow:"Invoice*" duration:>30s timed out env:"n8n eu"'
    answer = viewer.get(LIST, {"q": asked, "range": "7d", "version": "1"})
    assert answer.status_code == 302
    page = get(viewer, answer["Location"])
    assert query_bar(page) == (
        'status:failed workflow:Invoice* env:"n8n EU" error:"timed out" duration:>30s'
    )
    assert 'name="error" value="timed out"' in page
    assert 'name="min" value="30s"' in page
    assert re.findall(r'name="status" value="(\w+)" id="[^"]+" checked', page) == ["failed"]
    assert "Last 7 days" in page
    assert "version:" not in query_bar(page), "the text stands for all filters"


def test_each_status_is_ticked_by_its_own_word(viewer: Client, workflow: Workflow) -> None:
    make_execution(workflow)
    page = get(viewer, LIST)
    choice = r'<label for="([^"]+)"><input type="checkbox" name="status" value="\w+" id="([^"]+)"'
    pairs = re.findall(choice, page)
    assert len({one for one, _ in pairs}) == len(Status) + 1, "and lost contact"
    assert all(named == own for named, own in pairs)


def test_the_filters_write_the_query_bar(viewer: Client, workflow: Workflow) -> None:
    make_execution(workflow)
    page = get(viewer, f"{LIST}?workflow={workflow.pk}&status=failed&status=partial")
    assert query_bar(page) == 'status:failed,partial workflow:"Invoice sync · n8n EU"'
    part = get(viewer, LIST + "?error=refused", **{"HX-Request": "true", "HX-Target": "list"})
    assert query_bar(part) == "error:refused"


def test_the_query_bar_finds_ids_and_tags(viewer: Client, workflow: Workflow) -> None:
    started = timezone.now() - dt.timedelta(days=20)
    old = make_execution(workflow, external_id="4711", started_at=started)
    tagged = make_execution(
        workflow, Status.FAILED, error_message="code 4711", tags=["nightly", "eu"]
    )
    make_execution(workflow, Status.FAILED, error_message="code 12")

    def found(asked: str) -> list[str]:
        return shown(get(viewer, f"{LIST}?{urlencode({'q': asked})}"))

    for asked in ("4711", "id:4711", f"id:{old.id}", str(old.id).upper()):
        assert found(asked) == [str(old.id)], asked
    assert found('"4711"') == [str(tagged.id)], "quotes look for the text"
    assert found("code 4711") == [str(tagged.id)]
    assert found("tag:nightly") == [str(tagged.id)]
    assert found("tag:night") == found("id:4712") == found("id:4711 status:failed") == []
    page = get(viewer, f"{LIST}?q=id:4711")
    assert query_bar(page) == "id:4711"
    assert 'id="list"' in page


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("status:failed colour:red", "There is no filter “colour”"),
        ("status:failed env:mars", "There is no environment “mars”: there are Default, n8n EU."),
        ("status:failed duration:>soon", "Write a duration such as 840 ms, 30 s or 2 min."),
        ("status:failed workflow:\0x", "Null characters are not allowed."),
        ("status:failed -env:prod", "there is no way to leave something out"),
    ],
)
def test_a_query_that_makes_no_sense_in_part_is_kept_and_explained_and_matches_nothing(
    viewer: Client, workflow: Workflow, asked: str, said: str
) -> None:
    make_execution(workflow, Status.FAILED)
    make_execution(workflow)
    response = viewer.get(LIST, {"q": asked})
    page = unescape(response.content.decode())
    assert query_bar(page) == asked
    assert said in page.split('id="query-error"')[1].split("</ul>")[0]
    assert "Not understood, so nothing is shown" in page
    assert shown(page) == []
    for offer in ("export.csv", "executions/delete", 'id="shape"', 'id="news"'):
        assert offer not in page


def query_bar(page: str) -> str:
    found = re.search(r'id="query-text" name="q" value="(.*?)" maxlength', page)
    assert found is not None
    return found[1]


NEWS = {"HX-Request": "true", "HX-Target": "news"}


def news_address(page: str) -> str:
    found = re.search(r'id="news"[^>]* hx-get="([^"]+)"', page)
    assert found is not None
    return LIST + found[1]


def test_the_filter_by_error_says_its_text(viewer: Client, workflow: Workflow) -> None:
    failed = message(workflow, timezone.now(), Status.FAILED)
    failed.error_message = "Card declined"
    record(failed)
    with tenant_scope(workflow.tenant):
        fingerprint = bytes(ErrorGroup.objects.get().fingerprint).hex()
    assert "same error: “Card declined”" in get(viewer, f"{LIST}?fingerprint={fingerprint}")
    assert f"same error: {'ab' * 6}" in get(viewer, f"{LIST}?fingerprint={'ab' * 16}")
