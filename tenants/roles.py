"""The words of "May what" (API.md): roles of people and scopes of tokens."""

from django.db import models


class Role(models.TextChoices):
    """What a member may do; each role may also do everything that the ones after it may."""

    OWNER = "owner", "Owner"
    ADMIN = "admin", "Admin"
    OPERATOR = "operator", "Operator"
    VIEWER = "viewer", "Viewer"

    def at_least(self, other: "Role") -> bool:
        """Say whether this role may do all that `other` may."""
        return _RANK[self] >= _RANK[other]

    @property
    def explanation(self) -> str:
        """One sentence for people who choose a role."""
        return _EXPLANATION[self]


_RANK = {Role.VIEWER: 0, Role.OPERATOR: 1, Role.ADMIN: 2, Role.OWNER: 3}

_EXPLANATION = {
    Role.OWNER: (
        "Everything; owners alone invite and remove members, give roles, rename and delete the tenant."
    ),
    Role.ADMIN: (
        "All that operators may; also change alert settings, schedules of scans and environments, make"
        " tokens, delete executions, read the audit log."
    ),
    Role.OPERATOR: (
        "All that viewers may; also acknowledge and resolve incidents, send messages again, upload"
        " definitions, start and stop scans, save views."
    ),
    Role.VIEWER: "Read and export everything that ran, was found and is open; change nothing.",
}


class Scope(models.TextChoices):
    """What a token may do."""

    INGEST = "ingest", "ingest"
    READ = "read", "read"
    WRITE = "write", "write"

    @property
    def explanation(self) -> str:
        """One sentence for people who make a token."""
        return _SCOPE_EXPLANATION[self]


_SCOPE_EXPLANATION = {
    Scope.INGEST: "Send executions in, and nothing else.",
    Scope.READ: "Read what a viewer reads.",
    Scope.WRITE: (
        "Read what a viewer reads, store definitions, delete executions, change schedules, alert settings"
        " and incidents."
    ),
}


def scopes_allow(held: "frozenset[str] | set[str]", needed: "Scope | str | None") -> bool:
    """Say whether a token holding `held` may call what needs `needed` (None: any valid token)."""
    if needed is None or needed in held:
        return True
    return needed == Scope.READ and Scope.WRITE in held
