"""Which line of numbers a node is counted in: its own, or the one of all others of its workflow.

The first `NODES_WITH_NUMBERS` node ids that are folded get a line each, and keep it; so an id is always
added to and subtracted from the same line. Only the folder gives lines (under its lock). Until then an id
that would get one is named as if it had: nothing of it is folded, so nothing is torn apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import psycopg

from monitoring.database import columns
from monitoring.metrics.counters import Counters, NodeKey, add_at

NODES_WITH_NUMBERS: Final = 1_000
"""So many nodes of a workflow have a line; generated ids would else make rows without end in each hour."""

OTHER_NODES: Final = "(other nodes)"
"""Id of the shared line. A node that is really called so is counted in it, too."""

_Cursor = psycopg.Cursor[Any]


class NodeName(NamedTuple):
    """A node of a workflow."""

    tenant_id: int
    workflow_id: int
    node_id: str

    @property
    def workflow(self) -> tuple[int, int]:
        return self.tenant_id, self.workflow_id


@dataclass(frozen=True, slots=True)
class NodeLines:
    """Lines of the nodes that were asked about: who has one, and how many each workflow has."""

    own: Collection[NodeName]
    taken: Mapping[tuple[int, int], int]

    def line_of(self, node: NodeName) -> str:
        """The id under which a node's numbers stand."""
        return node.node_id if node in self.own or self.room(node.workflow) else OTHER_NODES

    def room(self, workflow: tuple[int, int]) -> int:
        """How many more nodes of a workflow can have a line."""
        return max(NODES_WITH_NUMBERS - self.taken.get(workflow, 0), 0)

    def merged(self, rows: Mapping[NodeKey, Counters]) -> dict[NodeKey, Counters]:
        """Counters by line instead of by node."""
        merged: dict[NodeKey, Counters] = {}
        for key, counters in rows.items():
            add_at(merged, key._replace(node_id=self.line_of(_name(key))), counters)
        return merged


def _name(key: NodeKey) -> NodeName:
    return NodeName(key.tenant_id, key.workflow_id, key.node_id)


def read_lines(db: _Cursor, keys: Iterable[NodeKey]) -> NodeLines:
    """The lines as they are."""
    names = sorted({_name(key) for key in keys})
    if not names:
        return NodeLines(frozenset(), {})
    db.execute(_FIND, columns(names))
    own = {NodeName(*row) for row in db.fetchall()}
    taken = dict[tuple[int, int], int]()
    if workflows := sorted({name.workflow for name in names if name not in own}):
        db.execute(_COUNT, columns(workflows))
        taken = {(tenant, workflow): count for tenant, workflow, count in db.fetchall()}
    return NodeLines(own, taken)


def give_lines(db: _Cursor, keys: Iterable[NodeKey]) -> NodeLines:
    """Give nodes that have no line one, first come, first served, while there is room.

    Needs the folder's lock. A workflow whose numbers are all gone (its history was cleared) starts anew.
    """
    keys = list(keys)
    lines = read_lines(db, keys)
    strangers = [name for name in dict.fromkeys(map(_name, keys)) if name not in lines.own]
    cramped = sorted({name.workflow for name in strangers if not lines.room(name.workflow)})
    if cramped:
        db.execute(_FORGET, columns(cramped))
        if db.rowcount:
            return give_lines(db, keys)
    taken, given = dict(lines.taken), []
    for name in strangers:
        if taken.get(name.workflow, 0) < NODES_WITH_NUMBERS:
            taken[name.workflow] = taken.get(name.workflow, 0) + 1
            given.append(name)
    if given:
        db.execute(_GIVE, columns(given))
    return NodeLines({*lines.own, *given}, taken)


_FIND: Final = """
    SELECT tenant_id, workflow_id, node_id
    FROM unnest(%s::bigint[], %s::bigint[], %s::text[]) AS k (tenant_id, workflow_id, node_id)
    JOIN monitoring_nodeline USING (tenant_id, workflow_id, node_id)
"""
_WORKFLOWS: Final = "unnest(%s::bigint[], %s::bigint[]) AS k (tenant_id, workflow_id)"
_COUNT: Final = f"""
    SELECT tenant_id, workflow_id, count(*)
    FROM {_WORKFLOWS} JOIN monitoring_nodeline USING (tenant_id, workflow_id) GROUP BY 1, 2
"""  # noqa: S608 - a constant of this module
_FORGET: Final = f"""
    DELETE FROM monitoring_nodeline l USING {_WORKFLOWS}
    WHERE l.tenant_id = k.tenant_id AND l.workflow_id = k.workflow_id AND NOT EXISTS (
        SELECT FROM monitoring_noderollup r
        WHERE r.tenant_id = k.tenant_id AND r.workflow_id = k.workflow_id)
"""  # noqa: S608 - a constant of this module
_GIVE: Final = """
    INSERT INTO monitoring_nodeline (tenant_id, workflow_id, node_id)
    SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[])
"""
