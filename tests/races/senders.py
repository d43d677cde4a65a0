"""Senders with connections of their own that all speak at the same moment, and keep a ledger."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

SECONDS = 120.0
"""How long one call may take; the machine may be busy with other tests."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a sender was told; status 0: nothing, the connection broke."""

    status: int
    body: Any = None
    retry_after: str = ""


@dataclass(slots=True)
class Connection:
    """One kept-alive connection with a token."""

    port: int
    token: str
    _http: http.client.HTTPConnection | None = None

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Told:
        """Call once, never again: what became of a broken call is not known."""
        if self._http is None:
            self._http = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        sent = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            content = None if body is None else json.dumps(body).encode()
            self._http.request(method, path, content, sent)
            answer = self._http.getresponse()
            text = answer.read()
            retry_after = answer.getheader("Retry-After", "")
            return Told(answer.status, json.loads(text) if text else None, retry_after)
        except (OSError, http.client.HTTPException, ValueError):
            self.close()
            return Told(0)

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None


@dataclass(slots=True)
class Crowd:
    """`size` senders at the server on `port`."""

    port: int
    token: str
    size: int
    errors: list[BaseException] = field(default_factory=list)

    def each_does(self, work: Callable[[int, Connection], None]) -> None:
        """Let every sender do `work(number, connection)` at once; wait for all."""
        threads = [
            threading.Thread(target=self._one, args=[work, number]) for number in range(self.size)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not self.errors, self.errors

    def all_send(self, calls: Sequence[Callable[[Connection], Told]]) -> list[list[Told]]:
        """Let all senders make the same calls, each begun together; what each call's senders heard."""
        heard: list[list[Told]] = [[] for _ in calls]
        together = threading.Barrier(self.size, timeout=2 * SECONDS)

        def work(number: int, connection: Connection) -> None:
            for place, call in enumerate(calls):
                together.wait()
                heard[place].append(call(connection))

        self.each_does(work)
        return heard

    def _one(self, work: Callable[[int, Connection], None], number: int) -> None:
        connection = Connection(self.port, self.token)
        try:
            work(number, connection)
        except BaseException as error:  # a thread's error would vanish: the test raises it
            self.errors.append(error)
        finally:
            connection.close()
