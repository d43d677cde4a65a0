"""Who may do what, said apart from the code that decides it (API.md, "May what")."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tenants.models import Role
from tests.security.world import Actor, Ids

SIGN_IN = 302
"""What a page answers to nobody: the way to the sign-in page."""

Values = Mapping[str, Any]


class Rule(Protocol):
    """Says which status refuses an actor; None lets it in."""

    def refusal(self, actor: Actor) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Open:
    """Everybody may."""

    def refusal(self, actor: Actor) -> int | None:
        return None


@dataclass(frozen=True, slots=True)
class Person:
    """Whoever is signed in may; it is about that person."""

    def refusal(self, actor: Actor) -> int | None:
        return None if _is_somebody(actor) else SIGN_IN


@dataclass(frozen=True, slots=True)
class Page:
    """Members with `role` may; others are not told that the tenant exists."""

    role: Role

    def refusal(self, actor: Actor) -> int | None:
        if not _is_somebody(actor):
            return SIGN_IN
        if actor.role is None:
            return 404
        return None if actor.role.at_least(self.role) else 403


@dataclass(frozen=True, slots=True)
class Api:
    """Tokens with `scope` (None: any that counts) and members with `role` may."""

    scope: str | None
    role: Role

    def refusal(self, actor: Actor) -> int | None:
        if actor.answers is not None:
            return actor.answers
        if actor.role is not None:
            return None if actor.role.at_least(self.role) else 403
        if not actor.scopes:
            return 401
        # "write" stands for an admin, who may read, too.
        granted = actor.scopes | ({"read"} if "write" in actor.scopes else set())
        return None if self.scope is None or self.scope in granted else 403


@dataclass(frozen=True, slots=True)
class Staff:
    """Operators of the installation may look; `changes`: those with all rights only."""

    changes: bool = False
    denied: int = 403

    def refusal(self, actor: Actor) -> int | None:
        if actor.is_superuser or (actor.is_staff and not self.changes):
            return None
        return self.denied if actor.is_staff else SIGN_IN


@dataclass(frozen=True, slots=True)
class Operators:
    """Operators of the installation may look; others are not told that it exists.

    `changes`: operators with all rights only.
    """

    nobody: int = 404
    changes: bool = False

    def refusal(self, actor: Actor) -> int | None:
        if actor.is_staff:
            return 403 if self.changes and not actor.is_superuser else None
        return 404 if _is_somebody(actor) else self.nobody


@dataclass(frozen=True, slots=True)
class NobodyButSeen:
    """Nobody may, operators included."""

    def refusal(self, actor: Actor) -> int | None:
        return 403 if actor.is_staff else SIGN_IN


def _is_somebody(actor: Actor) -> bool:
    return actor.is_person and actor.answers != 401


def nothing(ids: Ids) -> Values:
    """No values."""
    return {}


@dataclass(frozen=True, slots=True)
class Call:
    """One method of an address: who may, and what those are answered."""

    rule: Rule
    statuses: tuple[int, ...] = (200,)
    data: Callable[[Ids], Values | list[Any]] = nothing
    unaudited: str = ""
    """Why a change leaves no row in the audit log."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Ids that stand beside the path, in parameters or body: another tenant's count as unknown."""

    method: str = "GET"
    query: Callable[[Ids], Values] = nothing
    data: Callable[[Ids], Values | list[Any]] = nothing


@dataclass(frozen=True, slots=True)
class Entry:
    """What the matrix knows of one address.

    `names` are the ways to name something of a tenant in the path, beside the slug (`has_slug`);
    `makes` are the methods that make what an unknown id names. `fixed` are the path's other values
    (under "?" those of the query). `is_json`: bodies are JSON. `public` says for whom the answer is
    the same whoever asks, so that caches may keep it.
    """

    calls: Mapping[str, Call]
    names: Sequence[Callable[[Ids], Values]] = (nothing,)
    probes: Sequence[Probe] = ()
    makes: frozenset[str] = frozenset()
    is_json: bool = False
    has_slug: bool = False
    public: str = ""
    fixed: Values = field(default_factory=dict)
