"""One execution's page: why it failed, node by node, with what went in and out."""

from __future__ import annotations

import datetime as dt
import json
import re
from html import unescape
from typing import Any

import msgspec
import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from monitoring.models import Execution, Workflow
from monitoring.pages.timeline import MOST_ROWS
from monitoring.recording.payload import Payload
from monitoring.words import Status
from tenants.models import Role, Tenant
from tenants.scoping import tenant_scope
from tests.monitoring.factories import (
    NodeSpec,
    make_environment,
    make_execution,
    make_member,
    make_tenant,
    make_workflow,
    record_executions_of,
)

pytestmark = pytest.mark.django_db
NOW = timezone.now()


def address(execution: Execution, query: str = "") -> str:
    return f"/t/agency/executions/{execution.id}/{query}"


def get(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, (url, response.status_code)
    return unescape(response.content.decode())


def words(page: str) -> str:
    """What a person reads, without tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def make_failed(workflow: Workflow, **fields: Any) -> Execution:
    nodes = [
        NodeSpec("get-token", duration_ms=310, output=[{"token": "t"}]),
        NodeSpec(
            "fetch-orders",
            Status.FAILED,
            starts_ms=400,
            duration_ms=30_000,
            error_message="Connection timed out after 30000 ms",
            stack="Error: timed out\n    at fetch (orders.js:12)",
            input=[{"shop": "northwind"}],
        ),
        NodeSpec("map-items", Status.PENDING, starts_ms=None, duration_ms=None),
    ]
    plain: dict[str, Any] = {
        "nodes": nodes,
        "error_message": "Connection timed out after 30000 ms",
        "error_node_id": "fetch-orders",
        "error_node_name": "Fetch Orders",
        "duration_ms": 30_400,
        "version": "8",
    }
    return make_execution(workflow, Status.FAILED, **plain | fields)


def test_the_page_says_why_it_failed(viewer: Client, workflow: Workflow) -> None:
    earlier = make_execution(
        workflow,
        started_at=NOW - dt.timedelta(hours=1),
        nodes=[NodeSpec("fetch-orders", duration_ms=420)],
    )
    make_failed(workflow, started_at=NOW - dt.timedelta(minutes=30))
    page = get(viewer, address(make_failed(workflow)))
    said = words(page)
    assert "Invoice sync failed" in said
    assert "after 30.4 s" in said
    assert "version 8" in said
    assert "Fetch Orders: Connection timed out after 30000 ms" in said
    assert "timeout" in said
    assert "The same error 2 times in 1 workflow in 7 days" in said
    assert str(earlier.id) in page
    assert "this node took 420 ms" in said
    assert "not reached" in said
    assert "Error: timed out" in page


def test_the_failing_node_is_open_with_its_error_and_its_input(
    viewer: Client, workflow: Workflow
) -> None:
    execution = make_failed(workflow)
    page = get(viewer, address(execution))
    assert 'aria-label="Node Fetch Orders"' in page
    found = re.search(r'data-json-url="([^"]+/data/input/[^"]+)"', page)
    assert found is not None
    assert viewer.get(found[1]).json() == [{"shop": "northwind"}]


def test_of_a_node_that_failed_more_than_once_the_run_that_stopped_it_is_open(
    viewer: Client, workflow: Workflow
) -> None:
    def run(index: int, status: str) -> dict[str, Any]:
        return {
            "nodeId": "charge", "runIndex": index, "status": status, "input": {"order": index},
            "startedAt": (NOW - dt.timedelta(seconds=60 - index)).isoformat(),
            "error": {"message": f"refused for the {index}. time"} if status == "error" else None,
        }  # fmt: skip

    nodes = [run(0, "error"), run(1, "success"), run(2, "error")]
    [pk] = record_executions_of(workflow, 1, status="error", nodeExecutions=nodes)
    with tenant_scope(workflow.tenant):
        execution = Execution.objects.get(pk=pk)
    assert execution.error_message == "refused for the 2. time"
    page = get(viewer, address(execution))
    found = re.search(r'data-json-url="([^"]+/data/input/[^"]+)"', page)
    assert found is not None
    assert viewer.get(found[1]).json() == {"order": 2}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?node=get-token", "/data/output/?node=get-token&run=0"),
        ("?node=get-token&part=input", "No input was sent for this node."),
        ("?node=fetch-orders&part=output", "No output was sent for this node."),
        ("?node=map-items&part=error", "This node told no error."),
        ("?node=unknown", "About this execution"),
        ("?node=get-token&run=99999999999999", 'aria-label="Node Get Token"'),
        ("?node=get-token&run=x", 'aria-label="Node Get Token"'),
        ("?tab=nodes", "Get Token"),
        ("?tab=nodes&row=5000", "No nodes were sent"),
        ("?tab=trigger", "No trigger data was sent"),
        ("?tab=log", "No log was sent"),
        ("?row=5000", "Back to the first nodes"),
        ("?part=nonsense", "Error: timed out"),
    ],
)
def test_every_state_has_an_address(
    viewer: Client, workflow: Workflow, query: str, expected: str
) -> None:
    assert expected in get(viewer, address(make_failed(workflow), query))


def test_an_unknown_tab_is_not_found(viewer: Client, workflow: Workflow) -> None:
    assert viewer.get(address(make_failed(workflow), "?tab=nonsense")).status_code == 404


def test_runs_of_a_loop_are_walked_one_by_one(viewer: Client, workflow: Workflow) -> None:
    nodes = [
        NodeSpec("loop", run_index=run, starts_ms=run * 100, output={"run": run})
        for run in range(120)
    ]
    execution = make_execution(workflow, nodes=nodes)
    page = get(viewer, address(execution, "?node=loop&run=5"))
    assert "run 6 of 120" in words(page)
    assert "run=4" in page
    assert "run=6" in page
    assert "×120" in page


def test_many_nodes_are_drawn_in_views_with_the_failing_one_in_sight(
    viewer: Client, workflow: Workflow
) -> None:
    nodes = [NodeSpec(f"step-{number}", starts_ms=number) for number in range(299)]
    nodes.append(NodeSpec("last", Status.FAILED, error_message="no"))
    execution = make_execution(workflow, Status.FAILED, nodes=nodes, error_message="no")
    page = get(viewer, address(execution))
    assert len(page) < 150_000
    assert page.count('class="wf-row"') == 9
    assert "291 nodes before these" in words(page)
    first = get(viewer, address(execution, "?row=0"))
    assert first.count('class="wf-row"') == MOST_ROWS
    assert "200 more nodes" in words(first)


def test_neighbours_follow_the_lists_filter(viewer: Client, workflow: Workflow) -> None:
    rows = [
        make_execution(workflow, status, started_at=NOW - dt.timedelta(minutes=10 * minute))
        for minute, status in enumerate(
            [Status.FAILED, Status.SUCCESS, Status.FAILED, Status.SUCCESS, Status.FAILED]
        )
    ]

    def beside(query: str) -> list[str]:
        page = get(viewer, address(rows[2], query))
        return re.findall(r'rel="(?:prev|next)" href="/t/agency/executions/([0-9a-f-]+)/', page)

    assert beside("?status=failed") == [str(rows[0].id), str(rows[4].id)]
    assert beside("") == [str(rows[1].id), str(rows[3].id)]
    assert beside("?status=running") == []


def test_attempts_and_relations_are_linked(viewer: Client, workflow: Workflow) -> None:
    first = make_failed(
        workflow, external_id="A", attempt=1, started_at=NOW - dt.timedelta(hours=2)
    )
    second = make_failed(
        workflow, external_id="B", attempt=2, retry_of="A", started_at=NOW - dt.timedelta(hours=1)
    )
    child = make_execution(workflow, parent_execution_id="B")
    page = get(viewer, address(second))
    assert "attempt 2 of 2" in words(page)
    assert str(first.id) in page
    assert str(child.id) in page
    assert str(second.id) in get(viewer, address(first))
    assert str(second.id) in get(viewer, address(child))


def test_relations_by_the_senders_id_stay_in_their_environment(
    viewer: Client, tenant: Tenant, workflow: Workflow
) -> None:
    other = make_workflow(make_environment(tenant, name="n8n US"), name="Elsewhere")
    mine, alike = (make_execution(one, external_id="7") for one in (workflow, other))
    child, stranger = (make_execution(one, parent_execution_id="7") for one in (workflow, other))
    page = get(viewer, address(mine, "?workflow=none"))
    assert str(child.id) in page
    assert str(stranger.id) not in page
    page = get(viewer, address(child, "?workflow=none"))
    assert "started by Invoice sync" in words(page)
    assert str(alike.id) not in page


def test_a_parent_that_is_unknown_is_named(viewer: Client, workflow: Workflow) -> None:
    assert "started by elsewhere" in words(
        get(viewer, address(make_execution(workflow, parent_execution_id="elsewhere")))
    )


@pytest.mark.parametrize(
    "damaged", [b"", b"\x00" * 50, b"not zstd at all", b"\x28\xb5\x2f\xfd\x00"]
)
def test_damaged_payload_leaves_a_page_that_says_so(
    viewer: Client, workflow: Workflow, damaged: bytes
) -> None:
    execution = make_failed(workflow)
    with tenant_scope(workflow.tenant):
        Execution.objects.filter(id=execution.id).update(payload=damaged)
    for query in ("", "?tab=log", "?tab=trigger", "?node=get-token&part=output"):
        assert "are damaged" in get(viewer, address(execution, query))
    assert viewer.get(address(execution, "data/input/?node=fetch-orders")).status_code == 404


def test_data_never_runs_in_the_browser(viewer: Client, workflow: Workflow) -> None:
    payload = Payload(trigger_data=msgspec.Raw(json.dumps({"<script>": "alert(1)"}).encode()))
    execution = make_execution(workflow, payload=payload)
    response = viewer.get(address(execution, "data/trigger/"))
    assert response["Content-Type"] == "application/json"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response["Content-Security-Policy"]
    raw = viewer.get(address(execution, "data/trigger/?raw=1"))
    assert raw["Content-Type"].startswith("text/plain")
    download = viewer.get(address(execution, "data/trigger/?download=1"))
    assert download["Content-Disposition"] == f'attachment; filename="trigger-{execution.id}.json"'
    assert download.json() == {"<script>": "alert(1)"}


def test_a_stack_is_text(viewer: Client, workflow: Workflow) -> None:
    response = viewer.get(address(make_failed(workflow), "data/node-stack/?node=fetch-orders"))
    assert response["Content-Type"].startswith("text/plain")
    assert response.content.startswith(b"Error: timed out")


@pytest.mark.parametrize(
    "part", ["data/nonsense/", "data/input/?node=nobody", "data/log/", "data/stack/"]
)
def test_parts_that_are_not_there_are_not_found(
    viewer: Client, workflow: Workflow, part: str
) -> None:
    assert viewer.get(address(make_failed(workflow), part)).status_code == 404


def test_a_truncation_mark_reaches_the_tree(viewer: Client, workflow: Workflow) -> None:
    cut = {"__truncated__": {"bytes": 2_000_000, "kept": 10, "text": "[1,2,3,4,5"}}
    execution = make_execution(workflow, nodes=[NodeSpec("a", output=cut)])
    assert viewer.get(address(execution, "data/output/?node=a")).json() == cut


def test_another_tenants_execution_is_unknown(viewer: Client, workflow: Workflow) -> None:
    foreign = make_failed(make_workflow(make_environment(make_tenant("stranger"))))
    for path in ("", "data/input/?node=fetch-orders", "delete/"):
        assert viewer.get(address(foreign, path)).status_code in (403, 404)
        assert viewer.get(address(foreign, path)).status_code == (403 if path == "delete/" else 404)
    assert (
        viewer.get("/t/agency/executions/00000000-0000-0000-0000-000000000000/").status_code == 404
    )


def test_queries_do_not_grow_with_nodes(
    viewer: Client, workflow: Workflow, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    few = make_failed(workflow, retry_of="first", parent_execution_id="parent")
    nodes = [NodeSpec(f"step-{n}", Status.FAILED, error_message="no") for n in range(60)]
    many = make_failed(workflow, nodes=nodes, retry_of="first", parent_execution_id="parent")
    get(viewer, address(few))
    for execution in (few, many):
        with django_assert_max_num_queries(22):
            get(viewer, address(execution))


def test_hostile_texts_are_shown_as_text(viewer: Client, tenant: Tenant) -> None:
    script = "<script>alert(1)</script>\"'>"
    workflow = make_workflow(make_environment(tenant, name=script), name=script)
    execution = make_failed(
        workflow,
        error_message=script,
        error_node_name=script,
        external_id=script,
        retry_of=script,
        parent_execution_id=script,
        version=script,
        trigger_type=script,
        tags=[script],
        keys={script: script},
        nodes=[
            NodeSpec(
                script,
                Status.FAILED,
                error_message=script,
                stack=script,
                fields={"name": script, "type": script},
            )
        ],
    )
    for query in ("", "?tab=nodes", f"?node={script}", "?tab=log"):
        response = viewer.get(address(execution, query))
        assert response.status_code == 200
        assert "<script>alert" not in response.content.decode()


def test_going_on_is_shown_with_what_it_took_so_far(viewer: Client, workflow: Workflow) -> None:
    execution = make_execution(
        workflow,
        Status.RUNNING,
        started_at=timezone.now() - dt.timedelta(minutes=4),
        nodes=[
            NodeSpec("call", Status.RUNNING, duration_ms=None),
            NodeSpec("wait", Status.WAITING, duration_ms=None),
        ],
    )
    said = words(get(viewer, address(execution)))
    assert "Invoice sync is running" in said
    assert "for 4 min 00 s" in said


def test_an_execution_without_nodes_says_so(viewer: Client, workflow: Workflow) -> None:
    execution = make_execution(workflow, Status.FAILED, error_message="no", external_id=None)
    page = get(viewer, address(execution))
    assert "No nodes were sent" in page
    assert str(execution.id) in page


def test_only_admins_are_offered_to_delete(
    viewer: Client, tenant: Tenant, workflow: Workflow
) -> None:
    execution = make_failed(workflow)
    assert "Delete…" not in get(viewer, address(execution))
    viewer.force_login(make_member(tenant, Role.ADMIN))
    assert "Delete…" in get(viewer, address(execution))


def test_a_page_is_watched_while_its_execution_goes_on(viewer: Client, workflow: Workflow) -> None:
    poll = {"HX-Request": "true", "HX-Target": "goes-on"}
    execution = make_execution(workflow, Status.RUNNING, nodes=[NodeSpec("read")])
    address = f"/t/agency/executions/{execution.id}/"
    page = viewer.get(address).content.decode()
    assert 'hx-trigger="every 5s"' in page
    for part in ("head", "why", "ran"):
        assert f'id="{part}"' in page
    assert viewer.get(address, headers=poll).status_code == 200
    execution.status = Status.SUCCESS
    with tenant_scope(execution.tenant):
        execution.save()
    answer = viewer.get(address, headers=poll)
    assert (answer.status_code, answer["HX-Refresh"]) == (204, "true")
    assert 'id="goes-on"' not in viewer.get(address).content.decode()


def test_nodes_that_took_no_millisecond_have_times(viewer: Client, workflow: Workflow) -> None:
    node = {"nodeId": "n", "status": "success", "startedAt": NOW.isoformat(), "durationMs": 0}
    [one] = record_executions_of(workflow, 1, newest=NOW, nodeExecutions=[node])
    page = get(viewer, f"/t/agency/executions/{one}/")
    assert "Work 0 ms" in words(page)
    assert "times of nodes were not sent" not in page


# --- where a node's code stands -------------------------------------------------------------------


def source_page(viewer: Client, workflow: Workflow, source: Any) -> str:
    """The page of an execution whose failed node tells that source, as it is served."""
    node = {"nodeId": "send", "status": "error", "error": {"message": "503"}, "source": source}
    [one] = record_executions_of(workflow, 1, status="error", nodeExecutions=[node])
    response = viewer.get(f"/t/agency/executions/{one}/")
    assert response.status_code == 200
    return str(response.content.decode())


def test_the_panel_says_where_the_code_of_a_node_stands(viewer: Client, workflow: Workflow) -> None:
    source = {"file": "orders/invoice.py", "line": 42, "function": "send_invoice"}
    page = source_page(viewer, workflow, source)
    assert '<code class="break">orders/invoice.py:42</code>' in page
    assert 'data-copy="orders/invoice.py:42"' in page
    assert "<code>send_invoice</code>" in page


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ({"file": "a.py"}, "a.py"),
        ({"file": "a.py", "line": "7"}, "a.py"),
        ({"file": "a.py", "line": -1}, "a.py"),
        ({"file": "a.py", "line": True}, "a.py"),
        ({"file": "a.py", "line": 10**18}, "a.py"),
        ({"file": "a\n  b.py", "line": 3}, "a b.py:3"),
        ({"file": "x" * 5_000 + "/end.py", "line": 3, "function": "f" * 5_000}, "…"),
        (
            {"file": "<script>alert(1)</script>", "line": 1, "function": "<lambda>"},
            "&lt;script&gt;",
        ),
    ],
)
def test_a_source_is_bounded_and_escaped(
    viewer: Client, workflow: Workflow, source: Any, shown: str
) -> None:
    page = source_page(viewer, workflow, source)
    [place] = re.findall(r'<code class="break">(.*?)</code>', page, re.S)
    assert place.startswith(shown)
    assert len(unescape(place)) <= 220
    assert "f" * 300 not in page
    assert "<script>alert" not in page
    assert "<lambda>" not in page


@pytest.mark.parametrize(
    "source", [None, "a.py:3", 7, [], {}, {"line": 3}, {"file": ""}, {"file": 5}, {"file": ["a"]}]
)
def test_what_is_no_source_shows_none(viewer: Client, workflow: Workflow, source: Any) -> None:
    assert "Copy file and line" not in source_page(viewer, workflow, source)
