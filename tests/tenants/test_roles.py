"""Roles and scopes are ordered as API.md's "May what" says."""

from __future__ import annotations

import pytest

from tenants.roles import Role, Scope, scopes_allow

ORDER = [Role.VIEWER, Role.OPERATOR, Role.ADMIN, Role.OWNER]


@pytest.mark.parametrize("held", ORDER)
@pytest.mark.parametrize("needed", ORDER)
def test_a_role_may_do_what_lower_ones_may(held: Role, needed: Role) -> None:
    assert held.at_least(needed) == (ORDER.index(held) >= ORDER.index(needed))


@pytest.mark.parametrize(
    ("held", "may"),
    [
        ({Scope.INGEST}, {"ingest", None}),
        ({Scope.READ}, {"read", None}),
        ({Scope.WRITE}, {"read", "write", None}),
        ({Scope.INGEST, Scope.READ}, {"ingest", "read", None}),
        (set(), {None}),
    ],
)
def test_a_token_may_what_its_scopes_say(held: set[str], may: set[str | None]) -> None:
    assert {need for need in ("ingest", "read", "write", None) if scopes_allow(held, need)} == may


def test_every_role_and_scope_explains_itself() -> None:
    assert all(choice.explanation for choice in [*Role, *Scope])
