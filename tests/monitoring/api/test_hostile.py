"""What must never work: each case names the answer, and nothing may have changed afterwards."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
import zstandard
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from monitoring.api import examples
from monitoring.api.endpoints import OPERATIONS, Operation
from monitoring.api.parameters import Parameter
from tenants.models import ApiToken, Membership, Role, Tenant, User
from tenants.scoping import tenant_scope
from tenants.tokens import forget_cached_tokens, revoke_token
from tests.monitoring.api.conftest import Api, api_for, counts

pytestmark = [pytest.mark.django_db, pytest.mark.store]

FULL = "/api/executions"
SHORT = "/api/workflows/w/executions"
BATCH = "/api/executions/batch"
PING = "/api/heartbeats/wf-1"
N8N = "/api/n8n/error-workflow"
PLAIN = {"id": "e1", "workflowId": "w", "status": "success"}
MB = 1024 * 1024


@pytest.fixture
def unchanged(tenant: Tenant) -> Iterator[None]:
    before = counts()
    yield
    assert counts() == before, "something was stored"


def nested(depth: int, *, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return b'{"workflowId":"w","status":"success","trigger":{"data":%s1%s}}' % (
        opening * depth,
        closing * depth,
    )


def nodes(*items: Any) -> dict[str, Any]:
    return PLAIN | {"nodeExecutions": list(items)}


# --- bodies -------------------------------------------------------------------------------------

BODIES: list[tuple[str, str, bytes | Any, dict[str, str], int]] = [
    # not JSON
    ("empty", FULL, b"", {}, 400),
    ("half an object", FULL, b'{"id": "e1"', {}, 400),
    ("two values", FULL, b"{} {}", {}, 400),
    ("single quotes", FULL, b"{'a': 1}", {}, 400),
    ("html", FULL, b"<html></html>", {}, 400),
    ("broken utf-8", FULL, b'{"workflowId": "\xff\xfe", "status": "success"}', {}, 400),
    ("overlong utf-8", FULL, b'{"workflowId": "\xc0\xaf", "status": "success"}', {}, 400),
    ("utf-16", FULL, json.dumps(PLAIN).encode("utf-16"), {}, 400),
    ("utf-8 surrogates", FULL, b'{"workflowId": "\xed\xa0\x80", "status": "ok"}', {}, 400),
    ("NaN", FULL, b'{"workflowId": "w", "status": "success", "durationMs": NaN}', {}, 400),
    ("Infinity", FULL, b'{"workflowId": "w", "status": "success", "durationMs": Infinity}', {}, 400),
    ("hex number", FULL, b'{"workflowId": "w", "status": "success", "durationMs": 0x10}', {}, 400),
    ("a NUL byte", FULL, b'{"workflowId": "w\x00", "status": "success"}', {}, 400),
    ("a comment", FULL, b'{"workflowId": "w" /* a */}', {}, 400),
    # JSON of the wrong shape
    ("a list", FULL, [], {}, 422),
    ("a text", FULL, "hello", {}, 422),
    ("a number", FULL, 5, {}, 422),
    ("null", FULL, None, {}, 422),
    ("nothing in it", FULL, {}, {}, 422),
    ("no status", FULL, {"workflowId": "w"}, {}, 422),
    ("no workflow", FULL, {"status": "success"}, {}, 422),
    ("an unknown status", FULL, PLAIN | {"status": "exploded"}, {}, 422),
    ("a number as status", FULL, PLAIN | {"status": 3}, {}, 422),
    ("a list as status", FULL, PLAIN | {"status": ["success"]}, {}, 422),
    ("a list as id", FULL, PLAIN | {"id": ["a"]}, {}, 422),
    ("true as id", FULL, PLAIN | {"id": True}, {}, 422),
    ("a fraction as id", FULL, PLAIN | {"id": 1.5}, {}, 422),
    ("a long id", FULL, PLAIN | {"id": "x" * 256}, {}, 422),
    ("a long workflow id", FULL, PLAIN | {"workflowId": "x" * 256}, {}, 422),
    ("a long name", FULL, PLAIN | {"workflowName": "x" * 256}, {}, 422),
    ("an object as name", FULL, PLAIN | {"workflowName": {}}, {}, 422),
    ("a text as duration", FULL, PLAIN | {"durationMs": "12"}, {}, 422),
    ("a negative duration", FULL, PLAIN | {"durationMs": -1}, {}, 422),
    ("a huge duration", FULL, PLAIN | {"durationMs": 10**18}, {}, 422),
    ("an endless number", FULL, b'{"workflowId":"w","status":"ok","durationMs":%s}' % (b"9" * 400), {}, 422),
    ("a float beyond all", FULL, b'{"workflowId":"w","status":"ok","durationMs":1e400}', {}, 422),
    ("true as duration", FULL, PLAIN | {"durationMs": True}, {}, 422),
    ("a time before 2000", FULL, PLAIN | {"startedAt": "1999-12-31T23:59:59Z"}, {}, 422),
    ("a time two days ahead", FULL, PLAIN | {"startedAt": "2999-01-01T00:00:00Z"}, {}, 422),
    ("year 1", FULL, PLAIN | {"startedAt": "0001-01-01T00:00:00+14:00"}, {}, 422),
    ("year 9999", FULL, PLAIN | {"completedAt": "9999-12-31T23:59:59-14:00"}, {}, 422),
    ("year 10000", FULL, PLAIN | {"startedAt": "10000-01-01T00:00:00Z"}, {}, 422),
    ("no time", FULL, PLAIN | {"startedAt": "yesterday"}, {}, 422),
    ("30 February", FULL, PLAIN | {"startedAt": "2026-02-30T00:00:00Z"}, {}, 422),
    ("a number as time", FULL, PLAIN | {"startedAt": 1767225600}, {}, 422),
    ("a duration back before 2000", FULL, PLAIN | {"durationMs": 60 * 366 * 86_400_000}, {}, 422),
    ("a text as trigger", FULL, PLAIN | {"trigger": "http"}, {}, 422),
    ("a list as error", FULL, PLAIN | {"error": ["x"]}, {}, 422),
    ("a text as nodes", FULL, PLAIN | {"nodeExecutions": "x"}, {}, 422),
    ("an object as nodes", FULL, PLAIN | {"nodeExecutions": {"a": 1}}, {}, 422),
    ("a number as node", FULL, nodes(1), {}, 422),
    ("a node without id", FULL, nodes({"status": "success"}), {}, 422),
    ("a node without status", FULL, nodes({"nodeId": "a"}), {}, 422),
    ("a node of unknown status", FULL, nodes({"nodeId": "a", "status": "boo"}), {}, 422),
    ("a long node id", FULL, nodes({"nodeId": "x" * 256, "status": "ok"}), {}, 422),
    ("one run of a node twice", FULL, nodes(*[{"nodeId": "a", "status": "ok", "runIndex": 0}] * 2), {}, 422),
    ("a negative run index", FULL, nodes({"nodeId": "a", "status": "ok", "runIndex": -1}), {}, 422),
    ("a huge run index", FULL, nodes({"nodeId": "a", "status": "ok", "runIndex": 2**31}), {}, 422),
    ("5,001 nodes", FULL, nodes(*[{"nodeId": "a", "status": "ok"}] * 5_001), {}, 422),
    ("a text as tags", FULL, PLAIN | {"tags": "a"}, {}, 422),
    ("numbers as tags", FULL, PLAIN | {"tags": [1]}, {}, 422),
    ("51 tags", FULL, PLAIN | {"tags": ["x"] * 51}, {}, 422),
    ("a long tag", FULL, PLAIN | {"tags": ["x" * 256]}, {}, 422),
    ("numbers as keys", FULL, PLAIN | {"keys": {"a": 1}}, {}, 422),
    ("a list as keys", FULL, PLAIN | {"keys": ["a"]}, {}, 422),
    ("a text as parent", FULL, PLAIN | {"parent": "x"}, {}, 422),
    ("a text as attempt", FULL, PLAIN | {"attempt": "2"}, {}, 422),
    ("a huge attempt", FULL, PLAIN | {"attempt": 2**40}, {}, 422),
    ("a short heartbeat", FULL, PLAIN | {"heartbeatSeconds": 4}, {}, 422),
    ("a text as environment", FULL, PLAIN | {"environmentId": "prod"}, {}, 422),
    ("an unknown environment", FULL, PLAIN | {"environmentId": 2**62}, {}, 422),
    ("an environment beyond 64 bits", FULL, PLAIN | {"environmentId": 2**64}, {}, 422),
    ("65 levels of lists", FULL, nested(65), {}, 422),
    ("100,000 levels of lists", FULL, nested(100_000), {}, 422),
    ("100,000 levels of objects", FULL, nested(100_000, opening=b'{"a":', closing=b"}"), {}, 422),
    ("100,000 open brackets", FULL, b"[" * 100_000, {}, 422),
    ("a short log that runs", SHORT, {"status": "running"}, {}, 422),
    ("a short log of nothing", SHORT, {}, {}, 422),
    ("a list as failed action", SHORT, {"status": "failed", "failedActionId": []}, {}, 422),
    ("an error workflow of nothing", N8N, {}, {}, 422),
    ("an error workflow of texts", N8N, {"execution": "x", "workflow": "y"}, {}, 422),
    ("an error workflow without workflow", N8N, {"execution": {"id": "1"}}, {}, 422),
    # sizes
    ("6 MB", FULL, b" " * (6 * MB), {}, 413),
    ("6 MB in gzip", FULL, gzip.compress(b" " * (6 * MB)), {"Content_Encoding": "gzip"}, 413),
    ("6 MB in zstd", FULL, zstandard.compress(b" " * (6 * MB)), {"Content_Encoding": "zstd"}, 413),
    ("200 MB in gzip", BATCH, gzip.compress(b"\0" * (200 * MB), 1), {"Content_Encoding": "gzip"}, 400),
    # encodings and types
    ("gzip that is none", FULL, b"{}", {"Content_Encoding": "gzip"}, 400),
    ("zstd that is none", FULL, b"{}", {"Content_Encoding": "zstd"}, 400),
    ("half a gzip", FULL, gzip.compress(json.dumps(PLAIN).encode())[:-5], {"Content_Encoding": "gzip"}, 400),
    ("gzip with rubbish behind", FULL, gzip.compress(b"{}") + b"rubbish", {"Content_Encoding": "gzip"}, 400),
    ("zlib as gzip", FULL, zlib.compress(b"{}"), {"Content_Encoding": "gzip"}, 400),
    ("20,000 empty gzips", FULL, gzip.compress(b"") * 20_000, {"Content_Encoding": "gzip"}, 400),
    ("20,000 empty zstds", FULL, zstandard.compress(b"") * 20_000, {"Content_Encoding": "zstd"}, 400),
    ("deflate", FULL, zlib.compress(b"{}"), {"Content_Encoding": "deflate"}, 415),
    ("br", FULL, b"{}", {"Content_Encoding": "br"}, 415),
    ("gzip twice", FULL, gzip.compress(gzip.compress(b"{}")), {"Content_Encoding": "gzip, gzip"}, 415),
    ("a form", FULL, b"status=success", {"content_type": "application/x-www-form-urlencoded"}, 415),
    ("plain text", FULL, PLAIN, {"content_type": "text/plain"}, 415),
    ("no type", FULL, PLAIN, {"content_type": ""}, 415),
    ("another charset", FULL, PLAIN, {"content_type": "application/json; charset=utf-16"}, 415),
    ("lines where one is wanted", FULL, PLAIN, {"content_type": "application/x-ndjson"}, 415),
    ("xml in a batch", BATCH, b"<a/>", {"content_type": "application/xml"}, 415),
    # keys
    ("an empty key", FULL, PLAIN, {"Idempotency_Key": ""}, 422),
    ("a long key", FULL, PLAIN, {"Idempotency_Key": "x" * 256}, 422),
    ("an invisible key", FULL, PLAIN, {"Idempotency_Key": "a\x07b"}, 422),
    ("a key in unicode", FULL, PLAIN, {"Idempotency_Key": "schlüssel"}, 422),
    ("a long key of a batch", BATCH, [PLAIN], {"Idempotency_Key": "x" * 256}, 422),
]  # fmt: skip


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [case[1:] for case in BODIES],
    ids=[case[0] for case in BODIES],
)
def test_bodies(
    api: Api, path: str, body: bytes | Any, headers: dict[str, str], status: int
) -> None:
    answer = api.post(path, body, **headers)
    assert answer.status_code == status, answer.content
    if status == 422:
        assert answer.json()["errors"]


SCRIPT = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>{{7*7}}${7*7}"


def test_script_in_every_field_is_kept_as_text(api: Api) -> None:
    """Escaping is for pages: the API gives back what was sent, and never as HTML."""
    message = {
        "id": SCRIPT,
        "workflowId": SCRIPT,
        "workflowName": SCRIPT,
        "status": "failed",
        "trigger": {"type": SCRIPT, "data": {SCRIPT: SCRIPT}},
        "error": {"message": SCRIPT, "stack": SCRIPT, "nodeId": SCRIPT},
        "tags": [SCRIPT],
        "keys": {SCRIPT: SCRIPT},
        "version": SCRIPT,
        "retryOf": SCRIPT,
        "parent": {"executionId": SCRIPT, "nodeId": SCRIPT},
        "nodeExecutions": [
            {
                "nodeId": SCRIPT,
                "nodeName": SCRIPT,
                "nodeType": SCRIPT,
                "status": "failed",
                "input": SCRIPT,
                "output": [SCRIPT],
                "error": {"message": SCRIPT, "stack": SCRIPT},
            }
        ],
        SCRIPT: SCRIPT,
    }
    made = api.post(FULL, message)
    assert made.status_code == 201
    answer = api.send("GET", f"{FULL}/{made.json()['id']}")
    assert answer["Content-Type"] == "application/json"
    assert answer["X-Content-Type-Options"] == "nosniff"
    shown = answer.json()
    for name in ("workflowId", "workflowName", "trigger", "error", "tags", "keys", "version"):
        assert shown[name] == message[name], name
    assert shown["nodeExecutions"][0]["input"] == SCRIPT


# --- parameters ---------------------------------------------------------------------------------

LISTS = [
    "/api/executions",
    "/api/workflow-executions",
    "/api/v1/executions",
    "/api/workflows",
    "/api/workflows/w/executions",
    "/api/workflows/w/failures",
    "/api/v1/observability/workflows",
    "/api/v1/analytics/executions",
]
PAGING = [
    "limit=0",
    "limit=501",
    "limit=-1",
    "limit=ten",
    "limit=1e2",
    "limit=99999999999999999999",
    "limit=%00",
    "limit=1_0",
    "limit=٣",
    "offset=-1",
    "offset=10001",
    "offset=x",
    "cursor=nonsense!",
    "cursor=%00",
    "cursor=AAAA",
    "cursor=" + "A" * 5_000,
    "environment_id=x",
    "environment_id=0",
    "environment_id=99999999999999999999",
]
OTHERS = [
    "/api/executions?status=exploded",
    "/api/executions?startDate=yesterday",
    "/api/executions?endDate=2026-13-01",
    "/api/executions?startDate=%00",
    "/api/executions?startDate=0001-01-01",
    "/api/executions?endDate=9999-12-31T23:59:59Z",
    "/api/v1/executions?end=9999-12-31T23:59:59.999999Z",
    "/api/workflow-executions?endDate=9999-12-31T23:59:59-12:00",
    "/api/workflows/w/executions?endDate=9999-12-31T23:59:59Z",
    "/api/workflow-executions/stats/overview?endDate=9999-12-31T23:59:59Z",
    "/api/workflow-executions/stats/overview?endDate=0001-02-01&tz=America/Los_Angeles",
    "/api/executions?workflowId=" + "x" * 256,
    "/api/workflow-executions/stats/overview?startDate=2026-02-02&endDate=2026-02-01",
    "/api/workflow-executions/stats/overview?startDate=0001-01-01&endDate=9999-12-31",
    "/api/workflow-executions/stats/overview?endDate=0001-01-01",
    "/api/workflow-executions/stats/overview?tz=Mars/Olympus",
    "/api/v1/observability/kpis?time_range=2h",
    "/api/v1/observability/kpis?start=x&end=y",
    "/api/v1/observability/kpis?tz=../../etc/passwd",
    "/api/v1/observability/kpis?tz=%00",
    "/api/v1/observability/kpis?start=0001-01-01T00:00:00%2B14:00",
    "/api/v1/observability/overview?start=2026-01-02&end=2026-01-01",
    "/api/workflows/w/metrics?hours=0",
    "/api/workflows/w/metrics?hours=100000000",
    "/api/workflows/w/failures?hours=-5",
    "/api/workflows/w/failures?hours=1.5",
]


@pytest.mark.parametrize(
    "path", [*(f"{path}?{query}" for path in LISTS for query in PAGING), *OTHERS]
)
def test_parameters_that_cannot_be_read_are_400_and_named(api: Api, path: str) -> None:
    api.post(FULL, PLAIN)
    answer = api.send("GET", path)
    assert answer.status_code == 400, answer.content
    place, name = answer.json()["errors"][0]["loc"]
    assert place == "query"
    assert f"{name}=" in path


def test_an_offset_too_deep_names_the_cursor(api: Api) -> None:
    assert "cursor" in api.send("GET", "/api/executions?offset=10001").json()["detail"]


# --- who ----------------------------------------------------------------------------------------

_NOBODYS = str(2**40)
IDS = {
    "workflow_id": "w",
    "execution_id": "e1",
    "scan_id": _NOBODYS,
    "other_id": _NOBODYS,
    "incident_id": _NOBODYS,
}
GUARDED = [each for each in OPERATIONS if each.access is not None]


def path_of(entry: Operation, **ids: str) -> str:
    return entry.path.format(**(IDS | ids))


def call(api: Api, entry: Operation, **ids: str) -> Any:
    body = next(iter(entry.body.examples.values())) if entry.body else b""
    is_lines = entry.body is not None and entry.body.is_list
    return api.send(
        entry.method,
        path_of(entry, **ids),
        body,
        **({"content_type": "application/json"} if is_lines else {}),
    )


def named(entries: list[Operation]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "entry", entries, ids=[f"{each.method} {each.path}" for each in entries]
    )


def revoked(tenant: Tenant) -> Api:
    api = api_for(tenant)
    with tenant_scope(tenant):
        revoke_token(ApiToken.objects.get())
    return api


def expired(tenant: Tenant) -> Api:
    api = api_for(tenant)
    with tenant_scope(tenant):
        ApiToken.objects.update(expires_at="2020-01-01T00:00:00Z")
    forget_cached_tokens()
    return api


NOBODIES: dict[str, Callable[[Tenant], Api]] = {
    "no token": lambda _: Api(None),
    "an unknown token": lambda _: Api("fw_abcdefgh_" + "x" * 43),
    "rubbish": lambda _: Api("rubbish"),
    "a revoked token": revoked,
    "an expired token": expired,
}


@named(GUARDED)
@pytest.mark.parametrize("who", NOBODIES)
@pytest.mark.usefixtures("unchanged")
def test_nobody_is_401(tenant: Tenant, entry: Operation, who: str) -> None:
    answer = call(NOBODIES[who](tenant), entry)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")


@named([each for each in GUARDED if each.access and each.access.scope])
@pytest.mark.usefixtures("unchanged")
def test_a_missing_scope_is_403(tenant: Tenant, entry: Operation) -> None:
    assert entry.access is not None
    others = {"ingest": ["read", "write"], "read": ["ingest"], "write": ["ingest", "read"]}
    answer = call(api_for(tenant, *others[entry.access.scope or ""]), entry)
    assert answer.status_code == 403
    assert answer.json()["type"] == "/problems/scope-missing"


@named(GUARDED)
@pytest.mark.usefixtures("unchanged")
def test_a_suspended_tenant_is_403(tenant: Tenant, entry: Operation) -> None:
    Tenant.objects.update(suspended_at="2026-01-01T00:00:00Z")
    answer = call(api_for(tenant), entry)
    assert answer.status_code == 403
    assert answer.json()["type"] == "/problems/tenant-suspended"


# POST and PUT make what they name.
@named([each for each in GUARDED if "{" in each.path and each.method in ("GET", "DELETE")])
def test_another_tenants_ids_are_404_like_unknown_ones(
    api: Api, rival: Api, entry: Operation
) -> None:
    made = rival.post(FULL, PLAIN)
    before = counts()
    ours = made.json()["id"]
    foreign = [call(api, entry), call(api, entry, execution_id=ours)]
    unknown = call(api, entry, workflow_id="nothing", execution_id="nothing")
    assert {answer.status_code for answer in foreign} == {unknown.status_code} == {404}
    assert {answer.content for answer in foreign} == {unknown.content}
    assert counts() == before


@pytest.mark.parametrize("path", LISTS[:4] + LISTS[6:])
def test_lists_show_nothing_of_another_tenant(api: Api, rival: Api, path: str) -> None:
    rival.post(FULL, PLAIN)
    environment = rival.get("/api/executions")["data"][0]["environmentId"]
    for query in ("", f"?environment_id={environment}", "?workflowId=w", "?workflow_id=w"):
        page = api.get(path + query)
        assert page["data"] == [], query
        assert page["pagination"]["total"] == 0, query


@pytest.mark.parametrize("name", ["kpis", "overview"])
def test_numbers_count_nothing_of_another_tenant(api: Api, rival: Api, name: str) -> None:
    rival.post(FULL, PLAIN)
    environment = rival.get("/api/executions")["data"][0]["environmentId"]
    for query in ("", f"?environment_id={environment}", "?workflow_id=w"):
        found = api.get(f"/api/v1/observability/{name}{query}")
        assert (found if name == "kpis" else found["kpis"])["total_executions"] == 0


@named([each for each in GUARDED if each.method == "DELETE"])
def test_a_person_below_admin_deletes_nothing(tenant: Tenant, api: Api, entry: Operation) -> None:
    api.post(FULL, PLAIN)
    before = counts()
    person = User.objects.create_user(email="o@example.com", password="right-horse-battery")
    Membership.objects.create(tenant=tenant, user=person, role=Role.OPERATOR)
    client = Client()
    client.force_login(person)
    answer = client.delete(path_of(entry))
    assert answer.status_code == 403
    assert answer.json()["type"] == "/problems/role-missing"
    assert counts() == before


@named([each for each in GUARDED if each.method != "GET"])
@pytest.mark.usefixtures("unchanged")
def test_a_session_without_csrf_token_is_403(tenant: Tenant, entry: Operation) -> None:
    person = User.objects.create_user(email="o@example.com", password="right-horse-battery")
    Membership.objects.create(tenant=tenant, user=person, role=Role.OWNER)
    client = Client(enforce_csrf_checks=True)
    client.force_login(person)
    body = b"{}" if entry.method == "POST" else b""
    answer = client.generic(entry.method, path_of(entry), body, content_type="application/json")
    assert answer.status_code == 403
    assert answer.json()["type"] == "/problems/csrf"


# --- addresses ----------------------------------------------------------------------------------


KNOWN = {(each.path, each.method) for each in OPERATIONS}
WRONG = sorted(
    (path, method)
    for path in {each.path for each in OPERATIONS}
    for method in ("DELETE", "GET", "PATCH", "POST", "PUT", "TRACE")
    if (path, method) not in KNOWN
)


@pytest.mark.parametrize(("path", "method"), WRONG)
@pytest.mark.usefixtures("unchanged")
def test_a_wrong_method_is_405_with_the_right_ones(api: Api, path: str, method: str) -> None:
    answer = api.send(method, path.format(**IDS))
    assert answer.status_code == 405
    right = {known for at, known in KNOWN if at == path}
    assert right <= set(answer["Allow"].split(", "))


@pytest.mark.parametrize(
    "path",
    [
        "/api/",
        "/api/nothing",
        "/api/executions/",
        "/api/workflows/",
        "/api/workflow-executions/",
        "/api/v1/",
        "/api/v1/observability/errors",
        "/api/alerts/rules",
        "/api/schedules/none",
        "/v1/traces",
        "/api/executions/" + "x" * 300,
        "/api/executions/%00",
        "/api/executions/%ff%fe",
        "/api/executions/%ed%a0%80",
        "/api/executions/e1%0d%0aX-Injected:%201",
        "/api/workflows/" + "x" * 300,
        "/api/workflows/%00/metrics",
        "/api/workflow-executions/..%2f..%2fetc%2fpasswd",
        "/api/workflow-executions/%3Cscript%3E/logs",
    ],
)
def test_an_unknown_address_is_404(api: Api, path: str) -> None:
    answer = api.send("GET", path)
    assert answer.status_code == 404
    assert "X-Injected" not in answer.headers


# --- anything -----------------------------------------------------------------------------------

_NAMES = st.sampled_from(
    [
        *("id", "workflowId", "status", "startedAt", "completedAt", "durationMs", "trigger"),
        *("nodeExecutions", "error", "attempt", "retryOf", "parent", "tags", "keys", "updatedAt"),
        *("environmentId", "executedAt", "executionTimeMs", "failedActionId", "errorMessage"),
        *("nodeId", "runIndex", "message", "stack", "data", "type", "execution", "workflow"),
    ]
)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["success", "error", "running", "2026-02-14T10:30:00Z", "x" * 300, "\0"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(_NAMES | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=25,
)
_MESSAGES = st.dictionaries(_NAMES, _VALUES, max_size=12).map(
    lambda fields: {"workflowId": "w", "status": "success"} | fields
)
_BYTES = (
    st.binary(max_size=200)
    | _VALUES.map(lambda value: json.dumps(value).encode())
    | _MESSAGES.map(lambda value: json.dumps(value).encode())
    | st.lists(_MESSAGES, max_size=3).map(lambda values: json.dumps(values).encode())
)


@pytest.mark.parametrize("path", [FULL, SHORT, BATCH, N8N, PING, f"{PING}/start", f"{PING}/fail"])
@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=_BYTES, content_type=st.sampled_from(["application/json", "application/x-ndjson"]))
def test_no_body_breaks_the_server(api: Api, path: str, body: bytes, content_type: str) -> None:
    answer = api.post(path, body, content_type=content_type)
    assert answer.status_code in (200, 201, 400, 415, 422)
    if answer.status_code < 300:
        read = api.send("GET", "/api/executions?limit=3")
        assert read.status_code == 200


def test_examples_are_stored(api: Api) -> None:
    """The cases above differ from these by what they name only."""
    assert api.post(FULL, PLAIN).status_code == 201
    assert api.post(SHORT, examples.SHORT_LOG).status_code == 201
    assert api.post(FULL, json.loads(nested(62))).status_code == 201


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/workflow-executions/e1/retry"),
        ("GET", "/api/v1/sse/counts/acme"),
    ],
)
def test_what_comes_later_is_unknown_now(api: Api, method: str, path: str) -> None:
    """404, or 405 where the rest of the address could be a sender's id."""
    api.post(FULL, PLAIN)
    assert api.send(method, path).status_code in (404, 405)


_QUERIES = [
    (each.path, parameter)
    for each in OPERATIONS
    for parameter in each.query
    if each.method == "GET" and "{" not in each.path
]


@pytest.mark.parametrize(("path", "parameter"), _QUERIES)
def test_a_value_longer_than_its_schema_is_400(
    tenant: Tenant, path: str, parameter: Parameter[Any]
) -> None:
    longest = parameter.schema.get("maxLength", 1_000)
    api = api_for(tenant, "read", "ingest", "write")
    for text in ("9" * (longest + 1), "9" * 5_000, "T10" + " 10" * 1_500, "%00" * 2_000):
        answer = api.send("GET", f"{path}?{parameter.name}={quote(text, safe='%')}")
        assert answer.status_code == 400, text[:20]
