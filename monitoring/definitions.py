"""Definitions of workflows: read, scrubbed and stored as versions; a definition again makes none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import zstandard
from django.conf import settings
from django.db import transaction

from monitoring.definition_secrets import TooDeep, scrub_definition
from monitoring.graph import Graph, InvalidDefinition
from monitoring.models import Environment, Workflow, WorkflowVersion
from monitoring.providers import neutral
from monitoring.providers.n8n import definition as n8n
from tenants.models import User

__all__ = [
    "Definition",
    "InvalidDefinition",
    "current_version",
    "current_versions",
    "document_of",
    "find_or_make_workflow",
    "graph_of",
    "read_definition",
    "store_definition",
]

_DIGEST_BYTES: Final = 16
_COMPRESSION: Final = 9
_LARGEST: Final = 64 * 1024 * 1024

# What n8n tells beside the definition: who saved it when, and what running it left behind.
_NOT_DEFINITION: Final = frozenset(
    {
        "active",
        "activeVersionId",
        "createdAt",
        "id",
        "isArchived",
        "meta",
        "shared",
        "staticData",
        "triggerCount",
        "updatedAt",
        "versionCounter",
        "versionId",
    }
)


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition that was read: `document` without secrets, and its graph."""

    document: Mapping[str, Any]
    graph: Graph
    digest: bytes

    @property
    def is_active(self) -> bool | None:
        """Whether its workflow runs by itself, None when it doesn't say."""
        return self.graph.active


def read_definition(document: Any) -> Definition:
    """Read any JSON as a definition. Raises InvalidDefinition, and nothing else."""
    if not isinstance(document, dict):
        raise InvalidDefinition([("", "must be a workflow: an object with its nodes")])
    try:
        clean = scrub_definition(_without_state(document), depth=settings.LIMITS.depth)
    except TooDeep:
        raise InvalidDefinition(
            [("", f"nested deeper than {settings.LIMITS.depth} levels")]
        ) from None
    graph = _read_graph({**clean, **_state(document)})
    _check_limits(graph)
    return Definition(clean, graph, _digest(clean))


def store_definition(
    workflow: Workflow,
    document: Any,
    *,
    source: WorkflowVersion.Source,
    by: User | None,
) -> tuple[WorkflowVersion, bool]:
    """Make a version of a definition unless it is the current one; (version, whether it is new).

    `document` is JSON or a Definition that was read already. Updates what the workflow says of itself
    (`is_active`, its name while no message has named it). Raises InvalidDefinition.
    """
    found = document if isinstance(document, Definition) else read_definition(document)
    with transaction.atomic():
        # Only one delivery at a time may look at what is current.
        locked = Workflow.objects.select_for_update().get(pk=workflow.pk)
        _take_over(locked, workflow, found)
        current = current_version(locked)
        if current is not None and bytes(current.digest) == found.digest:
            _update_state(current, found.is_active)
            return current, False
        made = WorkflowVersion.objects.create(
            tenant_id=locked.tenant_id,
            workflow=locked,
            number=1 + (current.number if current else 0),
            digest=found.digest,
            body=_pack(found.document),
            node_count=len(found.graph.nodes),
            source=source,
            is_active=found.is_active,
            created_by=by,
        )
    return made, True


def find_or_make_workflow(environment: Environment, external_id: str, name: str = "") -> Workflow:
    """The workflow of that external id in an environment; made when it is seen for the first time."""
    workflow, _ = Workflow.objects.get_or_create(
        environment=environment,
        external_id=external_id,
        defaults={"tenant_id": environment.tenant_id, "name": name or external_id},
    )
    return workflow


def current_version(workflow: Workflow) -> WorkflowVersion | None:
    """The newest version of a workflow's definition, None without any."""
    return WorkflowVersion.objects.filter(workflow=workflow).order_by("-number").first()


def current_versions(workflow_ids: Collection[int]) -> dict[int, WorkflowVersion]:
    """Workflow id → the newest version of its definition, for those that have one."""
    newest = (
        WorkflowVersion.objects.filter(workflow_id__in=workflow_ids)
        .order_by("workflow_id", "-number")
        .distinct("workflow_id")
    )
    return {version.workflow_id: version for version in newest}


def document_of(version: WorkflowVersion) -> dict[str, Any]:
    """The stored document, without its secrets."""
    body = zstandard.ZstdDecompressor().decompress(bytes(version.body), max_output_size=_LARGEST)
    document: dict[str, Any] = msgspec.json.decode(body)
    return document


def graph_of(version: WorkflowVersion) -> Graph:
    """The neutral graph of a version."""
    return _read_graph({**document_of(version), "active": version.is_active})


def _read_graph(document: Mapping[str, Any]) -> Graph:
    """The graph in whichever form the document is: only the neutral one has edges."""
    if "edges" in document and "connections" not in document:
        return neutral.graph_of(document)
    return n8n.graph_of(document)


def _without_state(document: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in document.items() if key not in _NOT_DEFINITION}
    active = kept.get("activeVersion")
    if isinstance(active, dict):
        kept["activeVersion"] = {
            key: active[key] for key in ("nodes", "connections") if key in active
        }
    return kept


def _state(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: document[key] for key in ("active", "isArchived") if key in document}


def _check_limits(graph: Graph) -> None:
    limits = settings.LIMITS
    if len(graph.nodes) > limits.nodes:
        raise InvalidDefinition([("nodes", f"may be {limits.nodes:,} at most")])
    problems = [
        (name, f"may have at most {limits.text} characters")
        for name, said in (("name", graph.name), ("settings.time_zone", graph.settings.time_zone))
        if len(said or "") > limits.text
    ]
    problems += [
        (f"nodes.{number}", f"a name or id is longer than {limits.text} characters")
        for number, node in enumerate(graph.nodes)
        if max(len(node.name), len(node.id)) > limits.text
    ]
    if problems:
        raise InvalidDefinition(problems)


def _digest(document: Mapping[str, Any]) -> bytes:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()


def _pack(document: Mapping[str, Any]) -> bytes:
    return zstandard.ZstdCompressor(level=_COMPRESSION).compress(msgspec.json.encode(document))


def _take_over(locked: Workflow, given: Workflow, found: Definition) -> None:
    """Let the workflow say what its definition says."""
    changed = []
    if locked.is_active != found.is_active:
        locked.is_active = given.is_active = found.is_active
        changed.append("is_active")
    name = found.graph.name.strip()
    if name and name != locked.name and not bytes(locked.name_key):
        locked.name = given.name = name
        changed.append("name")
    if changed:
        locked.save(update_fields=changed)


def _update_state(version: WorkflowVersion, is_active: bool | None) -> None:
    if version.is_active != is_active:
        version.is_active = is_active
        version.save(update_fields=["is_active"])
