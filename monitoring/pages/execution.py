"""One execution: why did it fail? Head, error, timeline and the panel of one node."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from monitoring import history
from monitoring.models import Execution, NodeExecution
from monitoring.models.execution import REASON_LENGTH
from monitoring.pages.execution_place import DataLinks, ExecutionPlace, Link
from monitoring.pages.node_panel import NodePanel, failing_node, node_panel, own_stack
from monitoring.pages.payload import payload_of, whole_number
from monitoring.pages.rows import elapsed_ms, goes_on, known_until, rows_of, shown_status
from monitoring.pages.timeline import MOST_ROWS, first_in_sight, timeline_of
from monitoring.pages.why import why_of
from monitoring.panels import Place, Tab, panels_at, tabs_at
from monitoring.prepared import prepared
from monitoring.recording.payload import Payload, json_of
from tenants.access import TenantRequest, tenant_member
from tenants.models import Role
from tenants.ui.icons import status_word

OWN_TABS: Final = {
    "timeline": "Timeline",
    "nodes": "Nodes",
    "trigger": "Trigger data",
    "log": "Raw log",
}
NODES_A_VIEW: Final = 100


@tenant_member(Role.VIEWER)
@require_safe
@vary_on_headers("HX-Target")
def execution_page(request: TenantRequest, slug: str, execution_id: uuid.UUID) -> HttpResponse:
    """One execution; `?tab=`, `?node=`, `?run=` and `?part=` choose what is open."""
    execution = history.get(execution_id)
    if execution is None:
        raise Http404("No such execution")
    if request.headers.get("HX-Target") == "goes-on" and not goes_on(execution):
        # It ended while it was watched: now there is more to say than the parts that are asked for.
        return HttpResponse(status=204, headers={"HX-Refresh": "true"})
    view = _View(request, execution)
    return render(request, "monitoring/execution.html", view.head() | view.body())


@dataclass(frozen=True, slots=True)
class _Fact:
    """A line of what is known; an id can be copied."""

    name: str
    value: str
    is_id: bool


class _View:
    """The page as one address asks for it, put together for the template."""

    def __init__(self, request: TenantRequest, execution: Execution) -> None:
        self.request = request
        self.execution = execution
        self.now = timezone.now()
        self.place = ExecutionPlace(request, execution)
        unpacked = payload_of(execution)
        self.payload = unpacked or Payload()
        self.is_damaged = unpacked is None

    def head(self) -> dict[str, Any]:
        """What the page's head says and leads to."""
        execution, place = self.execution, self.place
        return {
            "execution": execution,
            "status": shown_status(execution),
            "goes_on": goes_on(execution),
            "title": f"{execution.workflow.name} {_verb(execution)}",
            "started": execution.started,
            "elapsed_ms": elapsed_ms(execution, self.now),
            "is_damaged": self.is_damaged,
            "parent": _parent(place),
            "list_url": place.list_url,
            "workflow_url": place.workflow_url,
            "delete_url": place.delete_url,
            **_attempts(place),
            **_neighbours(place),
        }

    def body(self) -> dict[str, Any]:
        """What stands below the head."""
        children = history.children_of(self.execution)
        return {
            "why": why_of(self.place, self.failing, self.now),
            "stack": None if self.selected else own_stack(self.place, self.payload),
            "tabs": self._tabs(),
            "tab": self.tab,
            "panel": self._panel(),
            "facts": _facts(self.execution),
            "panels": panels_at(Place.EXECUTION, self.request, self.execution),
            "children": rows_of(children, self.place.slug, ""),
            **self._tab_context(),
        }

    # --- nodes
    @cached_property
    def nodes(self) -> list[NodeExecution]:
        """All node executions in their order, with the beginning of their messages."""
        found = NodeExecution.objects.filter(execution_id=self.execution.id)
        with prepared():
            return list(found.defer("order_keys", "error_message").with_reason().in_order())

    @cached_property
    def failing(self) -> NodeExecution | None:
        return failing_node(self.execution, self.nodes)

    @cached_property
    def selected(self) -> NodeExecution | None:
        """The node whose panel is open: the address', else the failing one."""
        node_id = self.request.GET.get("node")
        if not node_id:
            return self.failing
        run = whole_number(self.request, "run")
        found = [n for n in self.nodes if n.node_id == node_id and n.run_index == run]
        return found[0] if found else None

    def _panel(self) -> NodePanel | None:
        if self.selected is None:
            return None
        is_failing = self.selected is self.failing
        return node_panel(
            self.place, self.selected, self.nodes, self.payload, is_failing=is_failing
        )

    # --- tabs
    @cached_property
    def _registered(self) -> dict[str, Tab]:
        return {tab.key: tab for tab in tabs_at(Place.EXECUTION, self.request)}

    @cached_property
    def tab(self) -> str:
        asked = self.request.GET.get("tab", "timeline")
        if asked not in OWN_TABS and asked not in self._registered:
            raise Http404("No such tab")
        return asked

    def _tabs(self) -> list[Link]:
        labels = OWN_TABS | {key: tab.label for key, tab in self._registered.items()}
        notes = {"nodes": str(len(self.nodes)) if self.nodes else ""}
        return [
            Link(
                label,
                self.place.here(tab=None if key == "timeline" else key, row=None),
                key == self.tab,
                notes.get(key, ""),
            )
            for key, label in labels.items()
        ]

    def _tab_context(self) -> dict[str, Any]:
        if self.tab == "timeline":
            return self._timeline()
        if self.tab == "nodes":
            return self._node_list()
        if self.tab in ("trigger", "log"):
            return {"data": self._own_data(self.tab)}
        part = self._registered[self.tab].make(self.request, self.execution)
        if part is None:
            raise Http404("Nothing to show there")
        return {"registered": part}

    def _timeline(self) -> dict[str, Any]:
        selected = self.selected.node_id if self.selected else None
        if "row" in self.request.GET:
            first = whole_number(self.request, "row")
        else:
            first = first_in_sight(self.nodes, selected)
        timeline = timeline_of(
            self.execution,
            self.nodes,
            now=known_until(self.execution, self.now),
            # A click must not move the rows under the pointer.
            url=lambda node: self.place.node(node, row=first),
            selected=selected,
            first=first,
        )
        has_more = timeline.hidden > 0
        return {"timeline": timeline, **self._view_urls(first, MOST_ROWS, has_more=has_more)}

    def _node_list(self) -> dict[str, Any]:
        first = whole_number(self.request, "row")
        shown = self.nodes[first : first + NODES_A_VIEW]
        has_more = len(self.nodes) > first + NODES_A_VIEW
        return {
            "node_rows": [(node, node.state.slug, self.place.node(node)) for node in shown],
            **self._view_urls(first, NODES_A_VIEW, has_more=has_more),
        }

    def _view_urls(self, first: int, size: int, *, has_more: bool) -> dict[str, str | None]:
        return {
            "more_url": self.place.here(row=first + size) if has_more else None,
            "less_url": self.place.here(row=max(first - size, 0)) if first else None,
        }

    def _own_data(self, tab: str) -> list[DataLinks]:
        """The parts of the payload that a tab shows: what was sent of them."""
        parts = {
            "trigger": (("Trigger data", "trigger", self.payload.trigger_data),),
            "log": (
                ("Result", "result", self.payload.result),
                ("Error details", "details", self.payload.error_details),
                ("Raw log", "log", self.payload.raw_log),
            ),
        }[tab]
        return [
            self.place.data(name, part, len(text))
            for name, part, raw in parts
            if (text := json_of(raw)) is not None
        ]


def _neighbours(place: ExecutionPlace) -> dict[str, str | None]:
    query = place.filters.query
    if not place.request.GET.keys() & {"range", "start", "end"}:
        # Whoever came by a bare link did not choose a time.
        query = replace(query, start=None, end=None)
    found = history.neighbours(place.execution.id, query)
    return {
        "newer_url": place.beside(found.newer) if found.newer else None,
        "older_url": place.beside(found.older) if found.older else None,
    }


def _attempts(place: ExecutionPlace) -> dict[str, Any]:
    """All attempts as rows (none when it is the only one), and which of how many this is."""
    execution = place.execution
    found = history.attempts_of(execution)
    for one in found:
        one.workflow, one.environment = execution.workflow, execution.environment
        if one is execution:
            one.reason = (one.error_message or "")[:REASON_LENGTH]  # type: ignore[attr-defined]
    return {
        "attempts": rows_of(found, place.slug, "") if len(found) > 1 else [],
        "attempt_number": execution.attempt or _place_among(execution, found),
        "attempt_count": max([len(found), *(one.attempt or 0 for one in found)]),
    }


def _place_among(execution: Execution, attempts: Sequence[Execution]) -> int:
    return [one.id for one in attempts].index(execution.id) + 1


def _parent(place: ExecutionPlace) -> Link | None:
    """The execution that started this one; without an address when it is not one of ours."""
    name = place.execution.parent_execution_id
    if name is None:
        return None
    # A sender's id is its own environment's first: others count their executions alike.
    named = history.find_by_any_id(name, environment_id=place.execution.environment_id)
    named = named or history.find_by_any_id(name)
    found = [one for one in named if one.id != place.execution.id]
    if len(found) != 1:
        return Link(name, "")
    return Link(found[0].workflow.name, place.beside(found[0].id))


def _facts(execution: Execution) -> list[_Fact]:
    """Ids and what else the sender told, for who wants it all."""
    ids = {
        "Id": str(execution.id),
        "Sender's id": execution.external_id,
        "Workflow's id": execution.workflow.external_id,
        "Retry of": execution.retry_of,
        "Parent's id": execution.parent_execution_id,
    } | {str(key): str(value) for key, value in (execution.keys or {}).items()}
    words = {
        "Version": execution.version,
        "Tags": ", ".join(map(str, execution.tags or [])),
    }
    facts = [_Fact(name, value, is_id=True) for name, value in ids.items() if value]
    return facts + [_Fact(name, value, is_id=False) for name, value in words.items() if value]


def _verb(execution: Execution) -> str:
    """The head's word: "Invoice sync failed"."""
    status = shown_status(execution)
    words = {
        "success": "succeeded",
        "partial": "succeeded in part",
        "running": "is running",
        "waiting": "is waiting",
        "pending": "is pending",
        "canceled": "was canceled",
        "skipped": "was skipped",
        "lost": "lost contact",
    }
    return words.get(status, status_word(status).lower())
