"""What goes into the audit log stays one line, whatever people type."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenants import audit
from tenants.models import AuditEvent, Tenant
from tenants.scoping import across_tenants
from tests.tenants.factories import make_tenant

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=400)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(ANY_TEXT)
def test_a_text_becomes_one_printable_line(text: str) -> None:
    line = audit.printable(text)
    assert len(line.splitlines()) <= 1
    assert not {unicodedata.category(character) for character in line} & {"Cc", "Cs", "Zl", "Zp"}
    assert len(line) <= 255


@pytest.fixture
def tenant(db: None) -> Tenant:
    return make_tenant()


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(actor=ANY_TEXT, subject=ANY_TEXT, detail=JSON)
def test_everything_can_be_recorded_and_read(
    tenant: Tenant, actor: str, subject: str, detail: object
) -> None:
    event = audit.record("test.deed", tenant=tenant, actor=actor, subject=subject, detail=detail)
    with across_tenants():
        stored = AuditEvent.objects.get(pk=event.pk)
    assert stored.subject == audit.printable(subject)
    for name, words in stored.facts:
        assert len(f"{name} {words}".splitlines()) <= 1
