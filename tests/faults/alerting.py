"""Tenants whose failures real workers tell to receivers and a mail server that misbehave."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from alerts.channels.webhook.channel import new_secret
from monitoring.models import Workflow
from tenants.models import Tenant
from tests.alerts.factories import fail, make_settings
from tests.alerts.receivers import Post, Receiver, Serve, answering, at_first, read_call, receiver
from tests.config.trees import free_port, wait_for
from tests.faults.carrier import RECOVERY_SECONDS, query
from tests.monitoring.factories import make_environment, make_tenant, make_workflow

_numbers = count(1)
_MESSAGE_ID = re.compile(r"^Message-ID: <([^@]+)@", re.MULTILINE | re.IGNORECASE)
# Whoever is not taken care of by now had no lease that runs and no pause of a first try.
SETTLED_SECONDS = RECOVERY_SECONDS + 15
# Workflows that fail at once; so many messages that one by one they would be over the limit.
STORM = 40


class Office:
    """The installation's mail server: it may be closed and opened again at the same port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.post = Post()
        self._open = ExitStack()

    @property
    def environment(self) -> dict[str, str]:
        """What processes must know to send to servers of this machine."""
        return {"FAULTS_SMTP_PORT": str(self.port), "OUTBOUND_ALLOWED_NETWORKS": "127.0.0.0/8"}

    def open(self) -> None:
        self._open.enter_context(receiver(self.post.serve, port=self.port))

    def close(self) -> None:
        self._open.close()


@dataclass(eq=False)
class Trial:
    """A tenant that three mails and a webhook tell of its workflows, which fail.

    `troubled` are the addresses whose receiver misbehaves: they may hear a message more than once.
    `refused` are those that refuse it for good.
    """

    tenant: Tenant
    office: Office
    hook: Receiver
    mails: list[str]
    troubled: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    workflows: list[Workflow] = field(default_factory=list)

    def fail(self, number: int = 1) -> None:
        """So many more workflows fail as often as opens an incident."""
        environment = make_environment(self.tenant, name=f"Environment {next(_numbers)}")
        for _ in range(number):
            self.workflows.append(make_workflow(environment))
            fail(self.workflows[-1], 3)

    # --- what came of it --------------------------------------------------------------------------
    def pending(self) -> list[tuple[str, str, str]]:
        """Address, state and reason of messages that still wait."""
        return query(
            "SELECT t.address, n.state, n.reason FROM alerts_notification n"
            " JOIN alerts_target t ON t.id = n.target_id"
            " WHERE n.tenant_id = %s AND n.state = 'pending'",
            self.tenant.pk,
        )

    def messages(self) -> list[tuple[str, str, str, int]]:
        """Address, id, state and number of stored tries of every message, the oldest first.

        The id of what went out in a summary is the summary's.
        """
        return [
            (address, str(key), state, tries)
            for address, key, state, tries in query(
                "SELECT t.address, coalesce(s.key, n.key), n.state, (SELECT count(*) FROM"
                " alerts_attempt a WHERE a.notification_id = n.id) FROM alerts_notification n"
                " LEFT JOIN alerts_notification s ON s.id = n.summary_id"
                " JOIN alerts_target t ON t.id = n.target_id WHERE n.tenant_id = %s ORDER BY n.id",
                self.tenant.pk,
            )
        ]

    def is_settled(self) -> bool:
        """Whether every workflow has its incident and nobody waits for a message."""
        ((opened,),) = query(
            "SELECT count(DISTINCT workflow_id) FROM alerts_incident WHERE tenant_id = %s",
            self.tenant.pk,
        )
        return bool(opened >= len(self.workflows) and self.messages() and not self.pending())

    def wait_until_settled(self, seconds: float = SETTLED_SECONDS) -> None:
        wait_for(self.is_settled, seconds, f"settled: {self.tenant.slug}")

    def hurry(self) -> None:
        """Let the rests between tries be over, and what was told be long ago."""
        query(
            "UPDATE alerts_attempt SET at = at - interval '1 hour' WHERE tenant_id = %s",
            self.tenant.pk,
        )
        query(
            "UPDATE alerts_notification SET next_try_at = clock_timestamp()"
            " WHERE tenant_id = %s AND state = 'pending' AND next_try_at > clock_timestamp()",
            self.tenant.pk,
        )
        query(
            "UPDATE alerts_target SET due_at = clock_timestamp() WHERE id IN (SELECT id"
            " FROM alerts_target WHERE tenant_id = %s AND due_at > clock_timestamp()"
            " AND leased_until IS NULL FOR UPDATE SKIP LOCKED)",
            self.tenant.pk,
        )

    def heard(self) -> dict[str, list[str]]:
        """Address → ids of the messages that it was given, also those that it did not take."""
        return {
            self.hook.url: [call.id for call in self.hook.calls],
            **{to: _ids(self.office.post.mails, to) for to in self.mails},
        }

    def most_heard(self) -> int:
        """The number of messages, tries included, that the address got that got the most."""
        return max(len(ids) for ids in self.heard().values())

    def accepted(self) -> dict[str, list[str]]:
        """Address → ids of the messages that it said it had taken."""
        return {
            self.hook.url: list(self.hook.accepted),
            **{to: _ids(self.office.post.accepted, to) for to in self.mails},
        }

    def complaints(self) -> set[str]:
        """What must not be, in words."""
        return {*self._of_incidents(), *self._of_deliveries()}

    def _of_incidents(self) -> Iterator[str]:
        rows = query(
            "SELECT workflow_id, count(*) FROM alerts_incident WHERE tenant_id = %s GROUP BY 1",
            self.tenant.pk,
        )
        opened = dict(rows)
        for workflow in self.workflows:
            if opened.get(workflow.pk, 0) == 0:
                yield "a failing workflow without incident"
            if opened.get(workflow.pk, 0) > 1:
                yield "an incident opened twice"

    def _of_deliveries(self) -> Iterator[str]:
        heard, accepted = self.heard(), self.accepted()
        messages = self.messages()
        if self.pending():
            yield "pending"
        for address in heard:
            known = {key for to, key, _, _ in messages if to == address}
            sent = {key for to, key, state, _ in messages if (to, state) == (address, "sent")}
            if not known:
                yield "somebody has no message"
            if set(heard[address]) - known:
                yield "an id that is no message's"
            if address not in self.refused and sent - set(accepted[address]):
                yield "sent, but never taken"
            if address not in self.refused and not sent:
                yield "somebody was never told"
            again = [key for key, times in Counter(heard[address]).items() if times > 1]
            if again and address not in self.troubled:
                yield "a healthy address was told again"


def _ids(mails: list[tuple[str, str]], recipient: str) -> list[str]:
    found = [_MESSAGE_ID.search(content) for to, content in mails if to == recipient]
    return [match[1] for match in found if match]


@contextmanager
def trial(
    office: Office,
    *,
    serve: Serve | None = None,
    troubles: Mapping[str, Serve] | None = None,
    refused: Mapping[str, str] | None = None,
) -> Iterator[Trial]:
    """A tenant whose webhook does what `serve` says.

    `troubles` and `refused` are by the first part of a mail address: a, b and c exist.
    """
    slug = f"trial-{next(_numbers)}"
    with receiver(serve or answering(200)) as hook:
        tenant = make_tenant(slug)
        mails = [f"{name}@{slug}.example" for name in "abc"]
        for name, trouble in (troubles or {}).items():
            office.post.troubles[f"{name}@{slug}.example"] = trouble
        for name, answer in (refused or {}).items():
            office.post.refused[f"{name}@{slug}.example"] = answer
        made = Trial(
            tenant,
            office,
            hook,
            mails,
            troubled={hook.url} if serve else {f"{n}@{slug}.example" for n in troubles or {}},
            refused={f"{name}@{slug}.example" for name in refused or {}},
        )
        make_settings(tenant, *mails, webhook_url=hook.url, webhook_secret=new_secret())
        yield made


def process_behind(connected: socket.socket) -> int:
    """The process of this machine that has the other end of a connection."""
    # Both ports: one that was used for another receiver may be in the table still, of nobody.
    theirs, ours = f":{connected.getpeername()[1]:04X}", f":{connected.getsockname()[1]:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, *_, inode = line.split()[:10]
        if local.endswith(theirs) and remote.endswith(ours):
            return _owner(f"socket:[{inode}]")
    raise AssertionError("the connection is gone")


def _owner(link: str) -> int:
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):  # a process that ends meanwhile, or is somebody else's
            if any(_is_link(entry, link) for entry in folder.iterdir()):
                return int(folder.parent.name)
    raise AssertionError("nobody holds the connection")


def _is_link(entry: Path, link: str) -> bool:
    """Whether a file of a process is this one; one that it closes meanwhile is not."""
    try:
        return str(entry.readlink()) == link
    except FileNotFoundError:
        return False


@dataclass
class Hold:
    """A receiver's trouble: say who sends (a call, or a mail that is read already); no answer."""

    of_call: bool = False
    sender: int = 0

    def __call__(self, connected: socket.socket, running: Receiver) -> None:
        if self.of_call:
            read_call(connected, running)
        self.sender = process_behind(connected)
        running.stopped.wait(30)

    def wait_for_sender(self) -> int:
        """The process that is sending just now."""
        wait_for(lambda: self.sender != 0, 15, "somebody sends")
        return self.sender


def cut(connected: socket.socket, running: Receiver) -> None:
    """Ends the connection."""


def zombies_tries(office: Office) -> int:
    """Stop a worker while it sends, let another send, let the first go on: how many tries count."""
    for _ in range(3):
        # On a busy machine a watchdog may take the cluster with the stopped worker for a stuck one.
        with suppress(ProcessLookupError):
            return _zombies_tries(office)
    raise AssertionError("watchdogs ended every zombie")


def _zombies_tries(office: Office) -> int:
    hold = Hold(of_call=True)
    with trial(office, serve=at_first(1, hold)) as slept:
        slept.fail()
        zombie = hold.wait_for_sender()
        os.kill(zombie, signal.SIGSTOP)
        try:
            wait_for(lambda: slept.hook.accepted != [], 30, "another sent it")
        finally:
            os.kill(zombie, signal.SIGCONT)
        slept.wait_until_settled()
        time.sleep(3)
        assert slept.complaints() == set()
        [tries] = [tries for address, _, _, tries in slept.messages() if address in slept.troubled]
        return tries
