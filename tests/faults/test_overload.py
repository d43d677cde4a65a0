"""A few seconds of what `make faults GROUP=overload` does in whole, on the tests' database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tenants.models import Scope, Tenant
from tenants.tokens import issue_token
from tests.bench import load
from tests.config.servers import WebServer
from tests.faults.crowds import posts
from tests.faults.flood import STORED, flood
from tests.tenants.factories import make_tenant

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


def token_of(tenant: Tenant) -> str:
    _, secret = issue_token(tenant, name="flood", scopes=[Scope.INGEST])
    return secret


def test_three_times_the_capacity_is_refused_clearly_and_nobody_else_waits_behind_it() -> None:
    token = token_of(make_tenant())
    with WebServer(WEB_THREADS="2") as server, ThreadPoolExecutor(1) as other:
        most = load.run(server.port, posts(token), connections=8, seconds=1.5).rate
        flooding = other.submit(
            flood, server.port, posts(token), rate=3 * most, seconds=4.0, connections=800
        )
        asked = []
        while not flooding.done():
            asked += [
                httpx.get(f"{server.url}{path}", timeout=30).status_code
                for path in ("/health/live", "/sign-in/")
            ]
        seen = flooding.result()
    assert set(asked) == {200}
    assert seen.statuses.keys() <= STORED | {503}
    assert seen.statuses[503], "it was more than there was room for"
    assert seen.statuses[201] > most, "what could be stored was"
    assert not seen.without_retry_after


def test_a_tenant_far_over_its_quota_is_refused_clearly_and_another_is_not() -> None:
    noisy, quiet = make_tenant(slug="noisy"), make_tenant(slug="quiet")
    for tenant in (noisy, quiet):
        tenant.executions_per_minute = 60
        tenant.save()
    loud, low = token_of(noisy), token_of(quiet)
    with WebServer() as server, ThreadPoolExecutor(1) as other:
        noise = other.submit(flood, server.port, posts(loud), rate=100, seconds=4.0, connections=50)
        heard = flood(server.port, posts(low), rate=2, seconds=4.0, connections=4)
        refused = noise.result()
    assert heard.statuses == {201: 8}
    assert refused.statuses.keys() == {201, 429}
    leaked = round(refused.seconds)  # one a second
    assert 60 <= refused.statuses[201] <= 86 + leaked, "the quota, and what leaked meanwhile"
    assert not refused.without_retry_after
