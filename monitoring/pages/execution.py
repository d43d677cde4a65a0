"""One execution: why did it fail? Head, error, timeline and the panel of one node."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlencode

from django.db.models import F
from django.db.models.functions import Left
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from monitoring import history
from monitoring.history import SameError
from monitoring.models import Execution, NodeExecution
from monitoring.pages.filters import Filters
from monitoring.pages.payload import payload_of, whole_number
from monitoring.pages.rows import elapsed_ms, reason, rows_of, shown_status, started
from monitoring.pages.timeline import MOST_ROWS, Timeline, first_in_sight, timeline_of
from monitoring.panels import Place, Tab, panels_at, tabs_at
from monitoring.recording.payload import NodePayload, Payload, json_of
from monitoring.words import ErrorClass, Severity, Status
from tenants.access import TenantRequest, tenant_member
from tenants.models import Role
from tenants.templatetags.ui import status_word

OWN_TABS: Final = {
    "timeline": "Timeline",
    "nodes": "Nodes",
    "trigger": "Trigger data",
    "log": "Raw log",
}
PARTS: Final = ("error", "input", "output", "more")
LATELY: Final = dt.timedelta(days=7)
NODES_A_VIEW: Final = 100
SHOWN_TEXT: Final = 16_000
"""Characters of a message or stack inside the page; the whole is a link away."""

# What belongs to this page in an address; all else is the list's filters.
_OWN_PARAMETERS: Final = ("node", "run", "part", "tab", "row")


@tenant_member(Role.VIEWER)
@require_safe
def execution_page(request: TenantRequest, slug: str, execution_id: uuid.UUID) -> HttpResponse:
    """One execution; `?tab=`, `?node=`, `?run=` and `?part=` choose what is open."""
    execution = history.get(execution_id)
    if execution is None:
        raise Http404("No such execution")
    return render(request, "monitoring/execution.html", _View(request, execution).context())


@dataclass(frozen=True, slots=True)
class _Link:
    label: str
    url: str
    is_current: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class _DataLinks:
    """Where a part of the payload is; `size` in bytes, None: unknown."""

    name: str
    url: str
    download_url: str
    size: int | None


@dataclass(frozen=True, slots=True)
class _Fact:
    """A line of what is known; an id can be copied."""

    name: str
    value: str
    is_id: bool


@dataclass(frozen=True, slots=True)
class _CutText:
    """A long text's beginning; `whole_url` leads to all of it when it was cut."""

    text: str
    is_cut: bool
    whole_url: str


class _View:
    """The page as one address asks for it, put together for the template."""

    def __init__(self, request: TenantRequest, execution: Execution) -> None:
        self.request = request
        self.execution = execution
        self.now = timezone.now()
        self.address = reverse("monitoring:execution", args=[request.tenant.slug, execution.id])
        self.filters = Filters(request)
        unpacked = payload_of(execution)
        self.payload = unpacked or Payload()
        self.is_damaged = unpacked is None

    def context(self) -> dict[str, Any]:
        execution = self.execution
        attempts = self.attempts
        return {
            "execution": execution,
            "status": shown_status(execution),
            "title": f"{execution.workflow.name} {_verb(execution)}",
            "started": started(execution),
            "elapsed_ms": elapsed_ms(execution, self.now),
            "is_damaged": self.is_damaged,
            "attempts": rows_of(attempts, self.slug, "") if len(attempts) > 1 else [],
            "attempt_number": execution.attempt or self._place_among(attempts),
            "attempt_count": max([len(attempts), *(one.attempt or 0 for one in attempts)]),
            "parent": self._parent(),
            "children": rows_of(history.children_of(execution), self.slug, ""),
            "why": self._why(),
            "tabs": self._tabs(),
            "tab": self.tab,
            "panel": self._node_panel(),
            "facts": self._facts(),
            "panels": panels_at(Place.EXECUTION, self.request, execution),
            "list_url": reverse("monitoring:executions", args=[self.slug]) + self.list_query,
            "list_filters": self.filters.active,
            "workflow_url": reverse("monitoring:workflow", args=[self.slug, execution.workflow_id]),
            "delete_url": reverse("monitoring:execution-delete", args=[self.slug, execution.id])
            + self.list_query,
            **self._neighbour_urls(),
            **self._tab_context(),
        }

    @property
    def slug(self) -> str:
        return self.request.tenant.slug

    # --- addresses
    @cached_property
    def list_query(self) -> str:
        """The list's own parameters as "?a=b", or nothing."""
        query = self.filters.address(*_OWN_PARAMETERS)
        return "" if query == "?" else query

    def url(self, **changed: str | int | None) -> str:
        """This page with parameters changed (None: left out), the list's filters kept."""
        kept = {
            name: self.request.GET[name] for name in _OWN_PARAMETERS if name in self.request.GET
        }
        wanted = {name: value for name, value in (kept | changed).items() if value is not None}
        query = self.list_query.removeprefix("?")
        return f"{self.address}?{'&'.join(part for part in (query, urlencode(wanted)) if part)}"

    def node_url(self, node: NodeExecution, row: int | None = None) -> str:
        """This page with that run of a node open; the rows stay where they are from `row` on."""
        kept = {} if row is None else {"row": row}
        return self.url(node=node.node_id, run=node.run_index or None, part=None, **kept)

    def data_links(self, name: str, part: str, size: int | None, **chosen: str | int) -> _DataLinks:
        address = reverse("monitoring:execution-data", args=[self.slug, self.execution.id, part])
        url = f"{address}?{urlencode(chosen)}"
        return _DataLinks(name, url, f"{url}&download=1", size)

    def _neighbour_urls(self) -> dict[str, str | None]:
        query = self.filters.query
        if not self.request.GET.keys() & {"range", "start", "end"}:
            # Whoever came by a bare link did not choose a time.
            query = replace(query, start=None, end=None)
        beside = history.neighbours(self.execution.id, query)
        return {"newer_url": self._beside(beside.newer), "older_url": self._beside(beside.older)}

    def _beside(self, execution_id: uuid.UUID | None) -> str | None:
        if execution_id is None:
            return None
        address = reverse("monitoring:execution", args=[self.slug, execution_id])
        return address + self.list_query

    # --- nodes
    @cached_property
    def nodes(self) -> list[NodeExecution]:
        """All node executions in their order, with the beginning of their messages."""
        found = NodeExecution.objects.filter(execution_id=self.execution.id)
        return list(
            found.defer("order_keys", "error_message")
            .annotate(reason=Left("error_message", 300))
            .order_by(
                F("position").asc(nulls_last=True),
                F("started_at").asc(nulls_last=True),
                "node_id",
                "run_index",
            )
        )

    @cached_property
    def failing(self) -> NodeExecution | None:
        """The node that the error is of: the one named by the execution, else the first failed."""
        failed = [node for node in self.nodes if node.state.is_problem]
        named = [node for node in failed if node.node_id == self.execution.error_node_id]
        named += [node for node in self.nodes if node.node_id == self.execution.error_node_id]
        return next(iter([*named, *failed]), None)

    @cached_property
    def selected(self) -> NodeExecution | None:
        """The node whose panel is open: the address', else the failing one."""
        node_id = self.request.GET.get("node")
        if not node_id:
            return self.failing
        run = whole_number(self.request, "run")
        found = [n for n in self.nodes if n.node_id == node_id and n.run_index == run]
        return found[0] if found else None

    def _node_panel(self) -> dict[str, Any] | None:
        node = self.selected
        if node is None:
            return None
        payload = self.payload.node(node.node_id, node.run_index)
        runs = [one for one in self.nodes if one.node_id == node.node_id]
        error = self._node_error(node, payload)
        part = self._open_part(node, payload, has_error=bool(error["has_error"]))
        at = runs.index(node)
        return {
            "node": node,
            "status": node.state.slug,
            "kind": (node.type or "").rpartition(".")[2],
            "parts": self._part_links(node, payload, part, has_error=bool(error["has_error"])),
            "part": part,
            "data": self._node_data(node, payload, part),
            # Whoever reads the error asks next what went in.
            "input_below": self._node_data(node, payload, "input") if part == "error" else None,
            "run_count": len(runs),
            "run_number": at + 1,
            "previous_run_url": self.node_url(runs[at - 1]) if at else None,
            "next_run_url": self.node_url(runs[at + 1]) if at + 1 < len(runs) else None,
            **error,
        }

    def _open_part(self, node: NodeExecution, payload: NodePayload, *, has_error: bool) -> str:
        asked = self.request.GET.get("part")
        if asked in PARTS:
            return asked
        if has_error:
            return "error"
        return "output" if json_of(payload.output) is not None else "input"

    def _part_links(
        self, node: NodeExecution, payload: NodePayload, part: str, *, has_error: bool
    ) -> list[_Link]:
        notes = {"input": _items(node.input_items), "output": _items(node.output_items)}
        shown = ["input", "output"]
        if has_error or part == "error":
            shown.insert(0, "error")
        if json_of(payload.extra) is not None or part == "more":
            shown.append("more")
        missing = {name for name in ("input", "output") if json_of(getattr(payload, name)) is None}
        run = node.run_index or None
        return [
            _Link(
                name.capitalize(),
                self.url(node=node.node_id, run=run, part=name),
                name == part,
                "–" if name in missing else notes.get(name, ""),
            )
            for name in shown
        ]

    def _node_data(self, node: NodeExecution, payload: NodePayload, part: str) -> _DataLinks | None:
        """Where the open part's JSON is; None when it was not sent."""
        field, kind = {
            "error": ("error_details", "node-details"),
            "more": ("extra", "extra"),
        }.get(part, (part, part))
        text = json_of(getattr(payload, field))
        if text is None:
            return None
        return self.data_links(
            part.capitalize(), kind, len(text), node=node.node_id, run=node.run_index
        )

    def _node_error(self, node: NodeExecution, payload: NodePayload) -> dict[str, Any]:
        is_failing = self.failing is not None and node.pk == self.failing.pk
        whole = NodeExecution.objects.filter(
            execution_id=node.execution_id, node_id=node.node_id, run_index=node.run_index
        )
        has_message = bool(node.reason)  # type: ignore[attr-defined]
        message = whole.values_list("error_message", flat=True)[0] if has_message else ""
        if not message and is_failing:
            message = self.execution.error_message or ""
        stack, part = payload.error_stack, "node-stack"
        if not stack and is_failing:
            stack, part = self.payload.error_stack, "stack"
        links = self.data_links("Stack", part, None, node=node.node_id, run=node.run_index)
        return {
            "message": _cut(message or "", ""),
            "stack": _cut(stack, links.url) if stack else None,
            "has_error": bool(message or stack or json_of(payload.error_details)),
        }

    # --- why
    def _why(self) -> dict[str, Any] | None:
        """What stands in the box under the head of an execution that has an error."""
        execution = self.execution
        node = self.failing.title if self.failing else execution.error_node_name
        said = reason(node, (execution.error_message or "")[:2_000])
        if not said:
            return None
        return {
            "said": said,
            "is_bad": execution.state is Status.FAILED,
            "error_class": _class_words(execution),
            "severity": None if execution.severity is None else Severity(execution.severity).slug,
            "stack": None if self.selected else self._own_stack(),
            **self._same_error(),
            **self._last_success(),
        }

    def _own_stack(self) -> _CutText | None:
        """The execution's stack, where no node's panel shows it."""
        stack = self.payload.error_stack
        return _cut(stack, self.data_links("Stack", "stack", None).url) if stack else None

    def _same_error(self) -> dict[str, Any]:
        if self.execution.fingerprint is None:
            return {"same": None}
        fingerprint = bytes(self.execution.fingerprint)
        same: SameError = history.same_error_since(fingerprint, self.now - LATELY)
        query = urlencode({"fingerprint": fingerprint.hex(), "range": "7d"})
        address = reverse("monitoring:executions", args=[self.slug])
        return {"same": same, "same_url": f"{address}?{query}"}

    def _last_success(self) -> dict[str, Any]:
        last = history.last_success_before(self.execution)
        if last is None:
            return {"last_success": None}
        node_ms = None
        if self.failing is not None:
            then = NodeExecution.objects.filter(
                execution_id=last.id, node_id=self.failing.node_id
            ).order_by("run_index")
            node_ms = then.values_list("duration_ms", flat=True).first()
        return {
            "last_success": started(last),
            "last_success_url": self._beside(last.id),
            "last_success_ms": last.duration_ms,
            "last_success_node_ms": node_ms,
        }

    # --- relations
    @cached_property
    def attempts(self) -> list[Execution]:
        found = history.attempts_of(self.execution)
        for one in found:
            one.workflow, one.environment = self.execution.workflow, self.execution.environment
            if one is self.execution:
                one.reason = (one.error_message or "")[:300]  # type: ignore[attr-defined]
        return found

    def _place_among(self, attempts: Sequence[Execution]) -> int:
        return [one.id for one in attempts].index(self.execution.id) + 1

    def _parent(self) -> _Link | None:
        """The execution that started this one; without an address when it is not (one of) ours."""
        name = self.execution.parent_execution_id
        if name is None:
            return None
        found = [one for one in history.find_by_any_id(name) if one.id != self.execution.id]
        if len(found) != 1:
            return _Link(name, "", False)
        return _Link(found[0].workflow.name, self._beside(found[0].id) or "", False)

    def _facts(self) -> list[_Fact]:
        """Ids and what else the sender told, for who wants it all."""
        execution = self.execution
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

    def _tabs(self) -> list[_Link]:
        labels = OWN_TABS | {key: tab.label for key, tab in self._registered.items()}
        notes = {"nodes": str(len(self.nodes)) if self.nodes else ""}
        return [
            _Link(
                label,
                self.url(tab=None if key == "timeline" else key, row=None),
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
        timeline: Timeline = timeline_of(
            self.execution,
            self.nodes,
            now=self.now,
            url=lambda node: self.node_url(node, row=first),
            selected=selected,
            first=first,
        )
        return {
            "timeline": timeline,
            "more_url": self.url(row=first + MOST_ROWS) if timeline.hidden else None,
            "less_url": self.url(row=max(first - MOST_ROWS, 0)) if first else None,
        }

    def _node_list(self) -> dict[str, Any]:
        first = whole_number(self.request, "row")
        shown = self.nodes[first : first + NODES_A_VIEW]
        rows = [(node, node.state.slug, self.node_url(node)) for node in shown]
        has_more = len(self.nodes) > first + NODES_A_VIEW
        return {
            "node_rows": rows,
            "more_url": self.url(row=first + NODES_A_VIEW) if has_more else None,
            "less_url": self.url(row=max(first - NODES_A_VIEW, 0) or None) if first else None,
        }

    def _own_data(self, tab: str) -> list[_DataLinks]:
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
            self.data_links(name, part, len(text))
            for name, part, raw in parts
            if (text := json_of(raw)) is not None
        ]


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


def _class_words(execution: Execution) -> str:
    """What kind of error it is, in words."""
    if execution.error_class is None:
        return ""
    error_class = ErrorClass(execution.error_class)
    return "unclassified error" if error_class is ErrorClass.UNKNOWN else error_class.label


def _items(count: int | None) -> str:
    return "" if count is None else f"{count} item{'' if count == 1 else 's'}"


def _cut(text: str, whole_url: str) -> _CutText:
    return _CutText(text[:SHOWN_TEXT], len(text) > SHOWN_TEXT, whole_url)
