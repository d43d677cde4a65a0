"""Addresses around one execution: its page's states, its data, its neighbours in the list."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from urllib.parse import urlencode

from django.urls import reverse

from monitoring.models import Execution, NodeExecution
from monitoring.pages.filters import Filters
from tenants.requests import TenantRequest

# What belongs to the execution's page in an address; all else is the list's filters.
OWN_PARAMETERS: Final = ("node", "run", "part", "tab", "row")


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a row of tabs; without `url` it is a name alone."""

    label: str
    url: str
    is_current: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class DataLinks:
    """Where a part of the payload is; `size` in bytes, None: unknown."""

    name: str
    url: str
    download_url: str
    size: int | None


class ExecutionPlace:
    """Makes the addresses that keep what the present one holds: open node, tab, list's filters."""

    def __init__(self, request: TenantRequest, execution: Execution) -> None:
        self.request = request
        self.execution = execution
        self.slug = request.tenant.slug
        self.filters = Filters(request)
        self._address = self._of("execution", execution.id)

    def _of(self, name: str, *args: object) -> str:
        return reverse(f"monitoring:{name}", args=[self.slug, *args])

    @cached_property
    def list_query(self) -> str:
        """The list's own parameters as "?a=b", or nothing."""
        query = self.filters.address(*OWN_PARAMETERS)
        return "" if query == "?" else query

    @property
    def list_url(self) -> str:
        """The list that one came from."""
        return self._of("executions") + self.list_query

    @property
    def delete_url(self) -> str:
        return self._of("execution-delete", self.execution.id) + self.list_query

    @property
    def workflow_url(self) -> str:
        return self._of("workflow", self.execution.workflow_id)

    def list_of(self, **params: str) -> str:
        """The list with these filters alone."""
        return f"{self._of('executions')}?{urlencode(params)}"

    def beside(self, execution_id: uuid.UUID) -> str:
        """Another execution's page with the same filters."""
        return self._of("execution", execution_id) + self.list_query

    def here(self, **changed: str | int | None) -> str:
        """This page with parameters changed (None: left out)."""
        asked = self.request.GET
        kept = {name: asked[name] for name in OWN_PARAMETERS if name in asked}
        wanted = {name: value for name, value in (kept | changed).items() if value is not None}
        query = self.list_query.removeprefix("?")
        return f"{self._address}?{'&'.join(part for part in (query, urlencode(wanted)) if part)}"

    def node(self, node: NodeExecution, **changed: str | int | None) -> str:
        """This page with that run of a node open."""
        opened: dict[str, str | int | None] = {
            "node": node.node_id,
            "run": node.run_index or None,
            "part": None,
        }
        return self.here(**opened | changed)

    def data(self, name: str, part: str, size: int | None, **chosen: str | int) -> DataLinks:
        """Where that part of the payload is (`pages.payload`)."""
        url = f"{self._of('execution-data', self.execution.id, part)}?{urlencode(chosen)}"
        return DataLinks(name, url, f"{url}&download=1", size)
