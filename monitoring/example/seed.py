"""Stores the example: a tenant, its owner, environments, thirty days of executions, a token."""

from __future__ import annotations

import datetime as dt
import itertools
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import msgspec
from django.db import transaction

from monitoring.environments import create_environment
from monitoring.example.generate import Message, example_messages
from monitoring.example.workflows import ENVIRONMENTS
from monitoring.recording import schema
from monitoring.recording.environments import default_environment, source_for
from monitoring.recording.record import ExecutionRecord, Outcome
from monitoring.recording.store import CHUNK, record_executions
from tenants.lifecycle import create_tenant
from tenants.members import add_member
from tenants.models import Role, Scope, Tenant
from tenants.scoping import tenant_scope
from tenants.tokens import issue_token


@dataclass(frozen=True, slots=True)
class FirstTenant:
    """What the first start makes; `password` is None when the person has one already."""

    tenant: Tenant
    password: str | None
    ingest_token: str


@transaction.atomic
def make_first_tenant(name: str, slug: str, email: str, password: str | None = None) -> FirstTenant:
    """Store a tenant with its owner and a token for pushing executions.

    A new person without `password` gets a random one; that of a known person stays.
    """
    tenant = create_tenant(name, slug)
    membership, is_new = add_member(tenant, email, Role.OWNER)
    if password is None and is_new:
        password = secrets.token_urlsafe(12)
    if password is not None:
        membership.user.set_password(password)
        membership.user.save(update_fields=["password"])
    with tenant_scope(tenant):
        default_environment(tenant.pk)
        _, secret = issue_token(
            tenant, name="First steps", scopes=[Scope.INGEST], created_by=membership.user
        )
    return FirstTenant(tenant, password, secret)


def record_example(tenant: Tenant, now: dt.datetime) -> int:
    """Store the example environments and executions; return how many executions."""
    with tenant_scope(tenant):
        environments = {
            environment.slug: create_environment(
                tenant,
                name=environment.name,
                provider=environment.provider,
                base_url=environment.base_url,
            ).pk
            for environment in ENVIRONMENTS
        }
    records = _records(tenant, environments, example_messages(now))
    count = 0
    while chunk := list(itertools.islice(records, CHUNK)):
        results = record_executions(chunk)
        refused = [r for r in results if r.outcome in (Outcome.REJECTED, Outcome.FAILED)]
        if refused:
            raise RuntimeError(f"{len(refused)} example executions: {refused[0].reason}")
        count += len(results)
    return count


def _records(
    tenant: Tenant, environments: dict[str, int], messages: Iterable[Message]
) -> Iterator[ExecutionRecord]:
    sources = {slug: source_for(tenant.pk, pk) for slug, pk in environments.items()}
    for message in messages:
        source = replace(sources[message.environment], received_at=message.sent_at)
        body = msgspec.json.encode(message.body)
        yield schema.full_execution(message.body, body, source)
