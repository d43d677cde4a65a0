"""10,000 failures in a minute over 500 workflows: what becomes of ingest, incidents and messages.

Messages are counted for `--seconds` after it, 90 at least: with 300 the first five minutes are real.
"""

from __future__ import annotations

import email
import email.policy
import json
import random
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from tests.alerts.receivers import Call, Post, answering, receiver
from tests.bench import data, load
from tests.bench.bench import Bench
from tests.bench.site import Site, carrier
from tests.figures import Figure

WORKFLOWS: Final = 500
EACH: Final = 20
THRESHOLD: Final = 3
RATE: Final = WORKFLOWS * EACH / 60
CONNECTIONS: Final = 32
USUAL_SECONDS: Final = 60
SHORTEST_WATCH: Final = 90.0
LONGEST_COUNTING: Final = 120.0
OWNER: Final = "storm@example.com"
MAIL: Final = "ops@example.com"

_INCIDENT: Final = re.compile(r"/t/storm/alerts/(\d+)/")
_LIST: Final = re.compile(r"/t/storm/alerts/\?summary=\d+")
_SUMMED_UP: Final = re.compile(r"([\d,]+) alerts: ")

T = TypeVar("T")


def measure(bench: Bench) -> Iterator[Figure]:
    """Ingest, incidents and messages."""
    site, seconds = bench.site, bench.seconds
    calls, mails = Timed[Call](), Timed[tuple[str, str]]()
    with receiver(answering(200)) as hook, receiver(Post(mails=mails).serve) as office:
        hook.calls = calls
        own = _make_tenant(site, hook.url)
        with carrier(site, SMTP_HOST="127.0.0.1", SMTP_PORT=str(office.port)):
            _post(site, own, "", range(WORKFLOWS))  # every workflow is known, every plan is made
            usual = _post(site, own, "", _in_turn(int(USUAL_SECONDS * RATE)))
            order = _in_turn(WORKFLOWS * EACH)
            random.Random(4).shuffle(order)
            storm = _post(site, own, "HTTP 500", order)
            ended = time.perf_counter()
            counts = _until_counted(site, own)
            counted = time.perf_counter()
            time.sleep(max(0.0, ended + max(seconds, SHORTEST_WATCH) - counted))
            watched = time.perf_counter() - ended
        told = {
            "webhook": [Told(at, call.body.decode()) for at, call in calls.timed()],
            "mail": [Told(at, _text(content)) for at, (_, content) in mails.timed()],
        }
        reached_at = _threshold_at(order, storm)
        cookie = site.sign_in(OWNER)
        yield _ingest(usual, storm)
        yield _incidents(counts, counted - ended)
        for name, messages in told.items():
            yield _messages(
                name, messages, reached_at, lambda path: site.get(path, cookie), watched
            )


# --- posting --------------------------------------------------------------------------------------


def _in_turn(number: int) -> list[int]:
    return [each % WORKFLOWS for each in range(number)]


def _post(site: Site, token: str, error: str, workflows: Iterable[int]) -> load.Report:
    """Post one execution of each, at the storm's rate; failed when there is an error."""
    return load.run_at(
        site.port, _requests(token, error, workflows), connections=CONNECTIONS, rate=RATE
    )


def _requests(token: str, error: str, workflows: Iterable[int]) -> Iterator[bytes]:
    """Made when they are sent, so that their executions have just ended."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    for workflow in workflows:
        body = json.dumps(data.execution(workflow=workflow, error=error)).encode()
        yield load.request("POST", "/api/executions", headers=headers, body=body)


def _threshold_at(order: Sequence[int], storm: load.Report) -> float:
    """When the failure that was the first to reach the threshold of its workflow was answered."""
    failed: Counter[int] = Counter()
    for number, at in storm.answers:
        failed[order[number]] += 1
        if failed[order[number]] == THRESHOLD:
            return at
    raise ValueError("no workflow reached the threshold")


def _ingest(usual: load.Report, storm: load.Report) -> Figure:
    ratios = [storm.percentile(percent) / usual.percentile(percent) for percent in (50, 99)]
    errors = usual.errors + storm.errors
    return Figure(
        section="later", line="ingest in a storm of failures, against its usual",
        target="p99 at most twice, 0 errors", met=ratios[1] <= 2 and not errors,
        reached=f"p50 {usual.percentile(50):.1f} to {storm.percentile(50):.1f} ms,"
        f" p99 {usual.percentile(99):.1f} to {storm.percentile(99):.1f} ms ({ratios[1]:.1f} times),"
        f" {errors} errors",
        sizes=f"{len(storm.latencies):,} failures of {WORKFLOWS} workflows in {storm.seconds:.0f} s",
    )  # fmt: skip


# --- incidents ------------------------------------------------------------------------------------


def _until_counted(site: Site, token: str) -> Counter[int]:
    """How many incidents count how many failures, when all have counted all or the time is over."""
    end = time.monotonic() + LONGEST_COUNTING
    while (counts := _counts(site, token)) != {EACH: WORKFLOWS} and time.monotonic() < end:
        time.sleep(0.5)
    return counts


def _counts(site: Site, token: str) -> Counter[int]:
    counts: Counter[int] = Counter()
    cursor: str | None = ""
    while cursor is not None:
        wanted = urllib.request.Request(
            f"http://127.0.0.1:{site.port}/api/alerts/incidents?limit=500&cursor={cursor}",
            headers={"Authorization": f"Bearer {token}"},
        )
        with urllib.request.urlopen(wanted) as answer:
            page = json.load(answer)
        counts.update(incident["count"] for incident in page["data"])
        cursor = page["pagination"]["nextCursor"]
    return counts


def _incidents(counts: Counter[int], seconds: float) -> Figure:
    others = ", ".join(f"{n} count {count}" for count, n in sorted(counts.items()) if count != EACH)
    return Figure(
        section="later", line="incidents of the storm",
        target=f"{WORKFLOWS}, each counts {EACH}", met=counts == {EACH: WORKFLOWS},
        reached=f"{counts.total()}, {counts[EACH]} of them count exactly {EACH},"
        f" {seconds:.0f} s after the last failure" + (f" ({others})" if others else ""),
    )  # fmt: skip


# --- messages -------------------------------------------------------------------------------------


class Timed(list[T]):
    """A list that knows when each thing was added."""

    def __init__(self) -> None:
        super().__init__()
        self._times: list[float] = []

    def append(self, thing: T) -> None:
        """Add a thing and the time."""
        self._times.append(time.perf_counter())
        super().append(thing)

    def timed(self) -> list[tuple[float, T]]:
        """Times and things."""
        return list(zip(self._times, self, strict=False))


@dataclass(frozen=True)
class Told:
    """A message that arrived."""

    at: float
    text: str


def _text(content: str) -> str:
    """Subject and text of a mail."""
    mail = email.message_from_string(content, policy=email.policy.default)
    text = mail.get_body(("plain",))
    assert text is not None
    return f"{mail['Subject']}\n{text.get_content()}"


def _messages(
    name: str, told: list[Told], reached_at: float, get: Callable[[str], str], watched: float
) -> Figure:
    """What arrived at one target, and which incidents that and the linked lists name."""
    if not told:
        raise RuntimeError(f"nothing arrived by {name}")
    named: set[str] = set()
    listed: set[str] = set()
    summed_up = entries = 0
    for each in told:
        named.update(_INCIDENT.findall(each.text))
        if found := _LIST.search(each.text):
            of_list = set(_whole_list(found[0], get))
            listed |= of_list
            entries += len(of_list)
            counted = _SUMMED_UP.search(each.text)
            assert counted is not None
            summed_up += int(counted[1].replace(",", ""))
    waited = told[0].at - reached_at
    return Figure(
        section="later", line=f"messages of the storm by {name}",
        target=f"the first within 3 s, all {WORKFLOWS} named or listed",
        met=waited < 3 and len(named | listed) == WORKFLOWS and summed_up == entries,
        reached=f"first {waited:.1f} s after the threshold, {len(told)} until {watched:.0f} s after the"
        f" last failure; {len(named)} incidents named, {len(listed - named)} in the linked lists",
    )  # fmt: skip


def _whole_list(path: str, get: Callable[[str], str]) -> Iterator[str]:
    """The incidents on all pages of a list."""
    number = 1
    while True:
        page = get(f"{path}&page={number}")
        yield from _INCIDENT.findall(page)
        if 'rel="next"' not in page:
            return
        number += 1


# --- the tenant -----------------------------------------------------------------------------------


def _make_tenant(site: Site, url: str) -> str:
    """A tenant that is told by mail and webhook, with default settings else; a token of it."""
    site.command("create_tenant", "Storm", "--slug", "storm")
    site.make_owner("storm", OWNER)
    site.command("shell", "--no-imports", "-c", _MAKE_SETTINGS % (MAIL, THRESHOLD, url))
    return site.command("create_token", "storm", "--scopes", "ingest,read")


_MAKE_SETTINGS: Final = """
from alerts.channels.webhook.channel import new_secret
from alerts.models import AlertSettings
from tenants.models import Tenant
from tenants.scoping import tenant_scope
tenant = Tenant.objects.get(slug="storm")
with tenant_scope(tenant):
    AlertSettings.objects.create(
        tenant=tenant, emails=["%s"], failure_threshold=%d, webhook_url="%s",
        webhook_secret=new_secret(),
    )
"""
