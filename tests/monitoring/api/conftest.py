"""A tenant with a caller for each kind of token, over Django's test client."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from monitoring.api import urls  # noqa: F401 - enters the operations that tests go through
from monitoring.models import (
    Environment,
    Execution,
    ExecutionKey,
    IdempotencyKey,
    NodeExecution,
    RollupDelta,
    Workflow,
)
from monitoring.recording.environments import default_environment, forget_environments
from tenants.models import Tenant
from tenants.scoping import across_tenants
from tenants.tokens import forget_cached_tokens, issue_token

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as ApiAnswer


class Api:
    """Calls the API with a token and checks what holds for every answer."""

    def __init__(self, token: str | None, *, tenant: Tenant | None = None) -> None:
        self.token = token
        self.tenant = tenant
        # A view that raises is a broken promise, but the promise is about what callers see.
        self._client = Client(raise_request_exception=False)

    def send(self, method: str, path: str, body: bytes | Any = b"", **headers: Any) -> ApiAnswer:
        """One call; a body that is no bytes goes as JSON."""
        content_type = headers.pop("content_type", "application/json")
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token is not None and "Authorization" not in sent:
            sent["Authorization"] = f"Bearer {self.token}"
        answer = self._client.generic(
            method, path, content, headers=sent, CONTENT_TYPE=content_type
        )
        assert answer.status_code < 500 or answer.status_code == 503, answer.content
        if answer.status_code >= 400:
            assert answer["Content-Type"] == "application/problem+json", answer.content
            problem = answer.json()
            assert problem["status"] == answer.status_code
            assert problem["type"].startswith("/problems/")
            assert problem["title"]
            assert all(isinstance(error["loc"], list) for error in problem["errors"])
        return answer

    def get(self, path: str, **headers: Any) -> Any:
        """The JSON that a path answers."""
        answer = self.send("GET", path, **headers)
        assert answer.status_code == 200, answer.content
        return json.loads(answer.content)

    def post(self, path: str, body: Any, **headers: Any) -> ApiAnswer:
        return self.send("POST", path, body, **headers)


@pytest.fixture(autouse=True)
def _fresh_caches() -> Iterator[None]:
    forget_cached_tokens()
    forget_environments()
    yield
    forget_cached_tokens()
    forget_environments()


@pytest.fixture
def tenant(db: None) -> Tenant:
    made = Tenant.objects.create(name="Acme", slug="acme", location_id="loc-acme")
    default_environment(made.pk)
    return made


@pytest.fixture
def other_tenant(db: None) -> Tenant:
    made = Tenant.objects.create(name="Rival", slug="rival")
    default_environment(made.pk)
    return made


def api_for(tenant: Tenant, *scopes: str, **fields: Any) -> Api:
    """A caller with a new token."""
    _, secret = issue_token(
        tenant, name="test", scopes=scopes or ("ingest", "read", "write"), **fields
    )
    return Api(secret, tenant=tenant)


@pytest.fixture
def api(tenant: Tenant) -> Api:
    return api_for(tenant)


@pytest.fixture
def rival(other_tenant: Tenant) -> Api:
    return api_for(other_tenant)


def counts() -> dict[str, int]:
    """How many rows there are of everything that a message can make."""
    tables = (
        Environment,
        Execution,
        ExecutionKey,
        IdempotencyKey,
        NodeExecution,
        RollupDelta,
        Workflow,
    )
    with across_tenants():
        return {table.__name__: table.objects.count() for table in tables}


def lines(messages: list[Any]) -> bytes:
    """Messages as NDJSON."""
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


def zipped(body: bytes) -> bytes:
    return gzip.compress(body)
