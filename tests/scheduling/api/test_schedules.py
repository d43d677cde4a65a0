"""The default schedule by API: shapes of requirement 001, both spellings, clear refusals."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from scheduling.models import Scan, Schedule
from tenants.models import AuditEvent, Tenant
from tenants.scoping import across_tenants, tenant_scope
from tests.monitoring.api.conftest import Api, api_for
from tests.monitoring.factories import make_environment, make_workflow

pytestmark = pytest.mark.django_db

URL = "/api/schedules"
FORM = {
    "enabled": True,
    "frequency": "weekly",
    "preferredTime": "23:59",
    "timezone": "Europe/Berlin",
    "weekday": 6,
    "scanScope": "all",
}


def test_without_a_schedule_the_defaults_are_shown_switched_off(api: Api) -> None:
    shown = api.get(URL)
    assert shown["id"] is None
    assert shown["enabled"] is False
    assert (shown["frequency"], shown["preferred_time"]) == ("daily", "02:00")
    assert shown["timezone"] == "America/Chicago"
    assert shown["next_runs"] == []


def test_a_schedule_is_made_and_its_next_three_runs_are_told(api: Api) -> None:
    made = api.post(URL, FORM)
    assert made.status_code == 200
    shown = api.get(URL)
    assert shown == made.json()
    runs = [dt.datetime.fromisoformat(each) for each in shown["next_runs"]]
    assert len(runs) == 3
    assert shown["next_scan_at"] == shown["next_runs"][0]
    assert [run.weekday() for run in runs] == [6, 6, 6], "22:59 UTC is Sunday still"
    with across_tenants():
        assert AuditEvent.objects.filter(action="schedule.set").count() == 1


def test_what_is_left_out_stays(api: Api) -> None:
    api.post(URL, FORM)
    changed = api.post(URL, {"preferred_time": "04:30", "enabled": False}).json()
    assert (changed["frequency"], changed["preferred_time"]) == ("weekly", "04:30")
    assert changed["next_runs"] == []
    assert changed["next_scan_at"] is None


def test_a_weekly_schedule_takes_the_day_of_its_creation(api: Api) -> None:
    made = api.post(URL, {"frequency": "weekly", "timezone": "UTC"}).json()
    assert made["weekday"] == dt.datetime.now(dt.UTC).weekday()


def test_selected_workflows_are_named_by_their_own_ids(api: Api, tenant: Tenant) -> None:
    workflow = make_workflow(make_environment(tenant), external_id="wf/1")
    form = {"scanScope": "selected", "selectedWorkflowIds": ["wf/1"]}
    assert api.post(URL, form).json()["selected_workflow_ids"] == ["wf/1"]
    with tenant_scope(tenant):
        assert list(Schedule.objects.get().selected.all()) == [workflow]


def test_many_workflows_are_looked_up_at_once(
    api: Api, tenant: Tenant, django_assert_max_num_queries: Any
) -> None:
    environment = make_environment(tenant)
    ids = [make_workflow(environment, external_id=f"wf-{n}").external_id for n in range(40)]
    form = {"scanScope": "selected", "selectedWorkflowIds": [*ids, ids[0]]}
    with django_assert_max_num_queries(25):
        assert sorted(api.post(URL, form).json()["selected_workflow_ids"]) == sorted(ids)


def test_an_id_of_two_environments_asks_which(api: Api, tenant: Tenant) -> None:
    chosen = make_environment(tenant)
    for environment in (chosen, make_environment(tenant)):
        make_workflow(environment, external_id="same")
    form = {"scanScope": "selected", "selectedWorkflowIds": ["same"]}
    answer = api.post(URL, form)
    assert answer.status_code == 409
    assert len(answer.json()["candidates"]) == 2
    assert api.post(f"{URL}?environment_id={chosen.pk}", form).status_code == 200


@pytest.mark.parametrize(
    ("form", "loc"),
    [
        ({"frequency": "hourly"}, ["body", "frequency"]),
        ({"preferredTime": "24:00"}, ["body", "preferred_time"]),
        ({"preferredTime": "7:00"}, ["body", "preferred_time"]),
        ({"preferredTime": "02:00\n"}, ["body", "preferred_time"]),
        ({"timezone": "Mars/Olympus"}, ["body", "timezone"]),
        ({"timezone": "../../etc/passwd"}, ["body", "timezone"]),
        ({"timezone": "localtime"}, ["body", "timezone"]),
        ({"timezone": "Factory"}, ["body", "timezone"]),
        ({"weekday": 7}, ["body", "weekday"]),
        ({"enabled": "yes"}, ["body", "enabled"]),
        ({"scanScope": "some"}, ["body", "scan_scope"]),
        ({"selectedWorkflowIds": ["unknown"]}, ["body", "selected_workflow_ids", 0]),
        ({"selectedWorkflowIds": ["a\x00b"]}, ["body", "selected_workflow_ids", 0]),
        ({"selectedWorkflowIds": "w"}, ["body", "selected_workflow_ids"]),
        ({"frequenzy": "daily"}, ["body"]),
        ([], ["body"]),
        (None, ["body"]),
    ],
)
def test_what_breaks_the_schema_is_refused_with_its_place(
    api: Api,
    form: Any,
    loc: list[Any],
) -> None:
    answer = api.post(URL, form)
    assert answer.status_code == 422, answer.content
    assert answer.json()["errors"][0]["loc"] == loc
    with across_tenants():
        assert not Schedule.objects.exists()


def test_it_is_deleted_once(api: Api) -> None:
    api.post(URL, FORM)
    assert api.send("DELETE", URL).json() == {"deleted": True}
    assert api.send("DELETE", URL).status_code == 404


def test_a_running_scan_is_stopped_with_its_schedule(api: Api, tenant: Tenant) -> None:
    alone = api.post(f"{URL}/run-now", {}).json()["scan_id"]
    api.post(URL, FORM)
    of_schedule = api.post(f"{URL}/run-now", {}).json()["scan_id"]
    assert api.send("DELETE", URL).json() == {"deleted": True}
    with tenant_scope(tenant):
        found = dict(Scan.objects.values_list("pk", "status"))
    assert found == {alone: "pending", of_schedule: "canceled"}


def test_a_token_of_one_environment_sees_its_own_workflows_and_sets_nothing(
    api: Api, tenant: Tenant
) -> None:
    own, other = make_environment(tenant), make_environment(tenant)
    make_workflow(own, external_id="mine")
    make_workflow(other, external_id="theirs")
    api.post(URL, {"scanScope": "selected", "selectedWorkflowIds": ["mine", "theirs"]})
    bound = api_for(tenant, environment_id=own.pk)
    assert bound.get(URL)["selected_workflow_ids"] == ["mine"]
    for answer in (
        bound.post(URL, {"enabled": False}),
        bound.post(f"{URL}/run-now", {}),
        bound.send("DELETE", URL),
    ):
        assert answer.status_code == 403
        assert "bound to one environment" in answer.json()["detail"]
    with tenant_scope(tenant):
        assert not Scan.objects.exists()
        assert Schedule.objects.get().enabled


def test_run_now_starts_one_scan_at_a_time(api: Api, tenant: Tenant) -> None:
    started = api.post(f"{URL}/run-now", {})
    assert started.status_code == 202
    assert api.post(f"{URL}/run-now", {}).status_code == 409
    with tenant_scope(tenant):
        assert Scan.objects.get().pk == started.json()["scan_id"]
    history = api.get(f"{URL}/history?limit=20")
    assert [row["status"] for row in history["data"]] == ["pending"]
    assert history["pagination"]["total"] == 1


def test_reading_needs_read_and_setting_needs_write(tenant: Tenant) -> None:
    reader = api_for(tenant, "read")
    assert reader.post(URL, FORM).status_code == 403
    assert reader.post(f"{URL}/run-now", {}).status_code == 403
    assert api_for(tenant, "ingest").send("GET", URL).status_code == 403
