"""From the commit of a failing execution to the request at the receiver, quiet and under load."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Final

from tests.alerts.receivers import Receiver, answering, receiver
from tests.bench import load
from tests.bench.bench import Bench
from tests.bench.posts import CONNECTIONS, posts
from tests.bench.site import Site, carrier
from tests.figures import Figure

TENANTS: Final = 60
"""Each has a webhook of its own: an address gets ten messages in five minutes at most."""

PAUSE_SECONDS: Final = 0.4


def measure(bench: Bench) -> Iterator[Figure]:
    """How long alerts take, quiet and while 32 connections post."""
    site = bench.site
    with receiver(answering(200)) as running, carrier(site):
        tokens = json.loads(
            site.command("shell", "--no-imports", "-c", _MAKE % (TENANTS, running.url))
        )
        _told_after(site, running, tokens.pop())  # warms up
        half = len(tokens) // 2
        quiet = sorted(_told_after(site, running, each) for each in tokens[:half])
        loading = threading.Thread(
            target=load.run,
            args=(site.port, posts(bench.token, 200, 200_000)),
            kwargs={"connections": CONNECTIONS, "seconds": half * (PAUSE_SECONDS + 1.5)},
        )
        loading.start()
        time.sleep(3)
        loaded = sorted(_told_after(site, running, each) for each in tokens[half:])
        loading.join()
    for name, found in (("quiet", quiet), ("under full ingest", loaded)):
        median, last = found[half // 2], found[min(half - 1, int(half * 0.99))]
        yield Figure(
            section="later", line=f"failing execution to the request at its receiver, {name}",
            target="median under 1 s, p99 under 3 s", met=median < 1 and last < 3,
            reached=f"median {median:.2f} s, p99 {last:.2f} s",
            sizes=f"{half} alerts, 2 clusters of 2 workers",
        )  # fmt: skip


def _told_after(site: Site, running: Receiver, token: str) -> float:
    """Seconds from the answer to one failure until the receiver has the message."""
    before = len(running.calls)
    body = {"status": "failed", "workflowName": "Measured", "errorMessage": "HTTP 500"}
    call = urllib.request.Request(
        f"http://127.0.0.1:{site.port}/api/workflows/measured/executions",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(call) as answer:
        answer.read()
    began = time.perf_counter()
    while len(running.calls) == before:
        if time.perf_counter() - began > 60:
            raise TimeoutError("nothing was told within a minute")
        time.sleep(0.001)
    took = time.perf_counter() - began
    time.sleep(PAUSE_SECONDS)
    return took


_MAKE: Final = """
import json
from alerts.channels.webhook.channel import new_secret
from alerts.models import AlertSettings
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tenants.tokens import issue_token
secrets = []
for number in range(%d):
    tenant = Tenant.objects.create(name=f"Told {number}", slug=f"told-{number}")
    with tenant_scope(tenant):
        AlertSettings.objects.create(
            tenant=tenant, failure_threshold=1, webhook_url="%s", webhook_secret=new_secret()
        )
    secrets.append(issue_token(tenant, name="bench", scopes=["ingest"])[1])
print(json.dumps(secrets))
"""
