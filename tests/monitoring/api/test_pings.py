"""Pings, as people know them from cron monitors: a start, an end, a failure, runs with names."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections import Counter
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from django.utils import timezone

from monitoring.ids import uuid_floor
from monitoring.metrics.verification import verify
from monitoring.models import Execution
from monitoring.recording.payload import unpack, value_of
from tenants.models import Tenant
from tenants.scoping import across_tenants, tenant_scope
from tests.monitoring.api.conftest import Api, api_for, zipped
from tests.monitoring.factories import make_environment

pytestmark = [pytest.mark.django_db, pytest.mark.store]


def ping(api: Api, end: str = "", rid: str = "", *, body: bytes = b"", job: str = "backup") -> Any:
    """One ping that is taken; what it answers."""
    query = f"?rid={quote(rid, safe='')}" if rid else ""
    answer = api.send(
        "POST",
        f"/api/heartbeats/{quote(job, safe='')}{end}{query}",
        body,
        content_type="text/plain",
    )
    assert answer.status_code == 200, answer.content
    return answer.json()


def runs(api: Api, job: str = "backup") -> list[Any]:
    """The executions of a job, oldest first."""
    return list(reversed(api.get(f"/api/executions?workflowId={quote(job, safe='')}")["data"]))


def statuses(api: Api) -> list[str]:
    return [run["status"] for run in runs(api)]


def log_of(run: Any) -> Any:
    with across_tenants():
        packed = Execution.objects.values_list("payload", flat=True).get(id=run["id"])
    return value_of(unpack(packed).raw_log)


# --- without names --------------------------------------------------------------------------------


def test_a_plain_ping_is_a_finished_execution(api: Api) -> None:
    made = ping(api)
    assert made["created"] is True
    [run] = runs(api)
    assert (run["status"], run["trigger"]["type"]) == ("success", "ping")
    assert run["durationMs"] is None, "nobody told when it began"
    assert run["completedAt"] is not None


def test_start_and_end_are_one_execution_with_its_duration(api: Api) -> None:
    started = ping(api, "/start")
    [run] = runs(api)
    assert (run["status"], run["completedAt"]) == ("running", None)
    ended = ping(api)
    assert (ended["id"], ended["created"]) == (started["id"], False)
    [run] = runs(api)
    assert run["status"] == "success"
    assert run["durationMs"] is not None
    assert run["startedAt"] <= run["completedAt"]


def test_a_failure_ends_the_open_run(api: Api) -> None:
    ping(api, "/start")
    ping(api, "/fail", body=b"copying\nrsync error: disk full\n\n")
    [run] = runs(api)
    assert (run["status"], run["error"]["message"]) == ("error", "rsync error: disk full")


def test_a_failure_without_a_start_is_a_failed_execution(api: Api) -> None:
    ping(api, "/fail")
    [run] = runs(api)
    assert (run["status"], run["error"]["message"]) == ("error", "The job told that it failed.")


def test_an_end_belongs_to_the_newest_open_run(api: Api) -> None:
    first, second = ping(api, "/start"), ping(api, "/start")
    assert ping(api)["id"] == second["id"]
    assert ping(api, "/fail")["id"] == first["id"]
    assert statuses(api) == ["error", "success"]
    assert ping(api)["created"] is True


def test_two_plain_pings_are_two_executions(api: Api) -> None:
    assert ping(api)["id"] != ping(api)["id"]


def test_a_start_that_nobody_ended_stays_open_and_takes_no_end_after_three_days(
    api: Api, tenant: Tenant
) -> None:
    old = ping(api, "/start")
    move_back(tenant, old["id"], dt.timedelta(hours=73))
    assert ping(api)["created"] is True
    assert sorted(statuses(api)) == ["running", "success"]
    assert [run["lostContactAt"] for run in runs(api)] == [None, None]


def test_a_start_of_almost_three_days_ago_takes_its_end(api: Api, tenant: Tenant) -> None:
    old = ping(api, "/start")
    move_back(tenant, old["id"], dt.timedelta(hours=71))
    assert ping(api)["created"] is False
    assert statuses(api) == ["success"]


def move_back(tenant: Tenant, execution_id: str, span: dt.timedelta) -> None:
    """As if the execution had begun earlier."""
    moved = uuid_floor(timezone.now() - span)
    with connection.cursor() as cursor:
        for table, column in (("execution", "id"), ("executionkey", "execution_id")):
            cursor.execute(
                f"UPDATE monitoring_{table} SET {column} = %s WHERE {column} = %s",
                [moved, execution_id],
            )


def test_an_end_leaves_executions_alone_that_no_ping_opened(api: Api) -> None:
    message = {"id": "pushed", "workflowId": "backup", "status": "running"}
    api.post("/api/executions", message | {"startedAt": timezone.now().isoformat()})
    assert ping(api)["created"] is True
    assert api.get("/api/executions/pushed")["status"] == "running"


def test_jobs_and_environments_have_their_own_runs(api: Api, tenant: Tenant) -> None:
    other = api_for(tenant, "ingest", environment_id=make_environment(tenant).pk)
    started = ping(api, "/start")
    assert ping(api, job="another")["created"] is True
    assert ping(other)["created"] is True
    assert ping(api)["id"] == started["id"]


# --- with names -----------------------------------------------------------------------------------


def test_named_runs_that_overlap_end_as_themselves(api: Api) -> None:
    ping(api, "/start", "a")
    ping(api, "/start", "b")
    ping(api, "", "a")
    ping(api, "/fail", "b")
    found = {run["externalId"]: run["status"] for run in runs(api)}
    assert found == {"a": "success", "b": "error"}


def test_an_end_without_a_name_leaves_named_runs_alone(api: Api) -> None:
    ping(api, "/start", "a")
    assert ping(api)["created"] is True
    assert api.get("/api/executions/a")["status"] == "running"


@pytest.mark.parametrize("end", ["/start", "", "/fail"])
def test_the_same_ping_of_a_run_again_changes_nothing(api: Api, end: str) -> None:
    first = ping(api, end, "a", body=b"first")
    before = runs(api)
    again = ping(api, end, "a", body=b"second")
    assert again == first | {"created": False}
    assert runs(api) == before


@pytest.mark.parametrize("end", ["", "/fail"])
def test_a_start_that_comes_after_the_end_starts_nothing(api: Api, end: str) -> None:
    ping(api, end, "a")
    before = runs(api)
    assert ping(api, "/start", "a")["created"] is False
    assert runs(api) == before


@pytest.mark.parametrize(("ends", "status"), [(["", "/fail"], "error"), (["/fail", ""], "success")])
def test_the_last_word_about_a_run_counts(api: Api, ends: list[str], status: str) -> None:
    for end in ends:
        ping(api, end, "a")
    assert statuses(api) == [status]


def test_a_name_is_one_of_its_job(api: Api) -> None:
    ping(api, "/start", "a")
    assert ping(api, "", "a", job="another")["created"] is True
    assert statuses(api) == ["running"]


def test_a_run_with_a_name_takes_heartbeats_and_full_messages_under_it(api: Api) -> None:
    ping(api, "/start", "a")
    assert api.send("POST", "/api/executions/a/heartbeat").status_code == 200
    node = {"nodeId": "dump", "status": "success"}
    message = {"id": "a", "workflowId": "backup", "status": "running", "nodeExecutions": [node]}
    assert api.post("/api/executions", message).status_code == 200
    ping(api, "", "a")
    [run] = runs(api)
    assert run["status"] == "success"
    assert [each["nodeId"] for each in run["nodeExecutions"]] == ["dump"]


@pytest.mark.parametrize("rid", ["1", "ü 漢", "a/b?c#d", "x" * 255, "ping-nightly", "start"])
def test_any_name_will_do(api: Api, rid: str) -> None:
    started = ping(api, "/start", rid)
    assert started["external_id"] == rid
    assert ping(api, "", rid)["id"] == started["id"]


def test_a_name_that_is_too_long_is_refused(api: Api) -> None:
    answer = api.send("POST", f"/api/heartbeats/backup?rid={'x' * 256}")
    assert answer.status_code == 400
    assert runs(api) == []


# --- addresses and bodies -------------------------------------------------------------------------


@pytest.mark.parametrize("job", ["a/b", "nightly backup", "ü 漢", "50%", "a?b#c", "x" * 255])
@pytest.mark.parametrize("end", ["", "/start", "/fail"])
def test_any_job_can_be_named(api: Api, job: str, end: str) -> None:
    ping(api, end, job=job)
    [run] = runs(api, job)
    assert run["workflowId"] == run["workflowName"] == job


@pytest.mark.parametrize(
    ("path", "job", "status"),
    [
        ("a%2Fstart", "a", "running"),
        ("a/start/fail", "a/start", "error"),
        ("start", "start", "success"),
    ],
)
def test_the_end_of_the_address_decides(api: Api, path: str, job: str, status: str) -> None:
    assert api.send("POST", f"/api/heartbeats/{path}").status_code == 200
    assert [run["status"] for run in runs(api, job)] == [status]


def test_a_job_with_too_long_a_name_is_422(api: Api) -> None:
    assert api.send("POST", f"/api/heartbeats/{'x' * 256}").status_code == 422


@pytest.mark.parametrize("end", ["", "/start", "/fail"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_crawlers_ping_nothing(api: Api, end: str, method: str) -> None:
    answer = api.send(method, f"/api/heartbeats/backup{end}")
    assert answer.status_code == 405
    assert answer["Allow"] == "POST, OPTIONS"
    assert runs(api) == []


BODIES = [
    (b"all fine\n", "all fine\n"),
    (b"42", "42"),
    (b'{"files": 3, "list": [1, null]}', {"files": 3, "list": [1, None]}),
    (b"[1, 2]", [1, 2]),
    (b"{broken", "{broken"),
    (b"caf\xe9 \xff", "caf\ufffd \ufffd"),
    (b"nul \x00 here", "nul \ufffd here"),
    (b"[" * 70 + b"]" * 70, "[" * 70 + "]" * 70),
    (b'1}, "status": "failed", "x": {"y": 1', '1}, "status": "failed", "x": {"y": 1'),
    (b"%PDF <script>alert(1)</script>", "%PDF <script>alert(1)</script>"),
]


@pytest.mark.parametrize(("body", "kept"), BODIES)
@pytest.mark.parametrize("end", ["", "/fail"])
def test_any_body_is_kept_as_the_raw_log(api: Api, end: str, body: bytes, kept: Any) -> None:
    ping(api, end, body=body)
    [run] = runs(api)
    assert log_of(run) == {"body": kept}
    assert run["status"] == ("error" if end else "success")


@pytest.mark.parametrize("body", [b"", b" \n\t"])
def test_a_body_of_nothing_is_none(api: Api, body: bytes) -> None:
    ping(api, body=body)
    assert log_of(runs(api)[0]) is None


def test_what_is_said_at_the_start_stays_beside_what_is_said_at_the_end(api: Api) -> None:
    ping(api, "/start", body=b'{"host": "db1"}')
    ping(api, body=b"done")
    [run] = runs(api)
    assert run["trigger"] == {"type": "ping", "data": {"host": "db1"}}
    assert log_of(run) == {"body": "done"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"message": "no space"}', "no space"),
        (b'{"error": "timed out", "code": 5}', "timed out"),
        (b'{"error": {"deep": 1}}', "The job told that it failed."),
        (b"[1]", "The job told that it failed."),
        (b"a\r\nb\r\n", "b"),
    ],
)
def test_a_failure_says_why(api: Api, body: bytes, message: str) -> None:
    ping(api, "/fail", body=body)
    assert runs(api)[0]["error"]["message"] == message


def test_secrets_of_a_body_are_scrubbed(api: Api) -> None:
    ping(api, "/fail", body=b'{"password": "hunter2hunter2", "message": "password=hunter2hunter2"}')
    shown = json.dumps([runs(api), log_of(runs(api)[0])])
    assert "hunter2" not in shown


def test_packed_bodies_are_taken_and_large_ones_cut_or_refused(api: Api, settings: Any) -> None:
    answer = api.send(
        "POST", "/api/heartbeats/backup", zipped(b"x" * 2_000_000), Content_Encoding="gzip"
    )
    assert answer.status_code == 200
    assert "__truncated__" in log_of(runs(api)[0])
    too_much = b"x" * (settings.LIMITS.body_bytes + 1)
    assert api.send("POST", "/api/heartbeats/backup", too_much).status_code == 413
    assert len(runs(api)) == 1


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "image/png", "application/json"],
)
def test_any_content_type_is_taken(api: Api, content_type: str) -> None:
    answer = api.send("POST", "/api/heartbeats/backup", b"a=b&c", content_type=content_type)
    assert answer.status_code == 200
    assert log_of(runs(api)[0]) == {"body": "a=b&c"}


def test_another_tenants_run_is_not_touched(api: Api, rival: Api) -> None:
    ping(api, "/start", "a")
    ping(rival, "", "a")
    assert statuses(api) == ["running"]
    assert statuses(rival) == ["success"]


def test_the_database_away_is_503(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError

    from monitoring.api import pings

    def fail(*_: object) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(pings, "record_ping", fail)
    answer = api.send("POST", "/api/heartbeats/backup")
    assert answer.status_code == 503
    assert answer["Retry-After"]


# --- at once --------------------------------------------------------------------------------------


def at_once(api: Api, calls: list[tuple[str, str]]) -> list[Any]:
    """Pings that begin together, each on a connection of its own."""
    answers: list[Any] = []
    errors: list[BaseException] = []
    together = threading.Barrier(len(calls))

    def one(end: str, rid: str) -> None:
        try:
            together.wait()
            answers.append(ping(Api(api.token), end, rid))
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    return answers


def tenant_is_counted_right(tenant: Tenant) -> bool:
    found: list[Any] = []
    with tenant_scope(tenant):
        verify(tenant, tell=found.append)
    return not found


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_ends_share_the_open_runs_among_them(self, api: Api, tenant: Tenant) -> None:
        opened = {ping(api, "/start")["id"] for _ in range(3)}
        answers = at_once(api, [("", "")] * 8)
        assert Counter(each["created"] for each in answers) == {False: 3, True: 5}
        assert opened == {each["id"] for each in answers if not each["created"]}
        assert len({each["id"] for each in answers}) == 8
        assert statuses(api) == ["success"] * 8
        assert tenant_is_counted_right(tenant)

    def test_two_plain_pings_of_a_new_job(self, api: Api, tenant: Tenant) -> None:
        answers = at_once(api, [("", "")] * 2)
        assert [each["created"] for each in answers] == [True, True]
        assert len(runs(api)) == 2

    def test_the_same_named_ping(self, api: Api, tenant: Tenant) -> None:
        answers = at_once(api, [("/fail", "a")] * 6)
        assert Counter(each["created"] for each in answers) == {True: 1, False: 5}
        assert len({each["id"] for each in answers}) == 1
        assert tenant_is_counted_right(tenant)

    def test_start_and_end_of_a_name_in_any_order_end_it(self, api: Api, tenant: Tenant) -> None:
        for number in range(6):
            at_once(api, [("/start", f"r{number}"), ("", f"r{number}"), ("/start", f"r{number}")])
        assert statuses(api) == ["success"] * 6
        with tenant_scope(tenant):
            assert all(
                each.duration_ms is None or each.duration_ms >= 0
                for each in Execution.objects.all()
            )
        assert tenant_is_counted_right(tenant)
