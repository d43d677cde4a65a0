"""The process's client: its settings, its log, what writes into it and what sends from it."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import secrets
import sqlite3
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flowwatch_client import values
from flowwatch_client.background import Background
from flowwatch_client.capture.clock import now
from flowwatch_client.capture.unfinished import UnfinishedNode
from flowwatch_client.capture.version import version_of
from flowwatch_client.log.log import Log
from flowwatch_client.log.schema import NewerFile
from flowwatch_client.log.writer import Writer
from flowwatch_client.rows import Row
from flowwatch_client.saying import say
from flowwatch_client.secret_rules import Scrubber
from flowwatch_client.settings import BadSetting, Settings, as_variables, from_environment
from flowwatch_client.signals import raised_by_handler

if TYPE_CHECKING:
    from flowwatch_client.capture.execution import Execution

LONG_SECONDS = 1.0
"""A node that takes longer is shown before it ends."""
LONGEST_NAME = 255
"""Of ids and names, as the server takes them."""
LONGEST_MESSAGE = 16 * 1024
"""Of an error; the server keeps 64 KB."""
LONGEST_STACK = 64 * 1024
"""Of an error; the server keeps 256 KB."""


class Client:
    """Takes rows and values of running workflows. Nothing here raises into a workflow."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log = Log(settings.path, durable=settings.durable)
        self.scrubber = Scrubber(
            _hash_key(settings.token),
            extra_keys=settings.scrub_extra_keys,
            safe_keys=settings.scrub_safe_keys,
        )
        self.writer = Writer(
            self.log,
            buffered=settings.buffered,
            prepare=self._complete if settings.buffered else None,
            running=self._rows_of_running,
        )
        self.background = Background(self.log, self.writer, settings)
        self.name = functools.lru_cache(maxsize=4096)(self._clean_name)
        self.version = version_of(settings.version)
        self._running: dict[str, Execution] = {}
        self._said: set[str] = set()
        self.background.tick = self._show_long_nodes

    def open(self) -> None:
        """Open the log now, so that the first node doesn't have to; what is wrong with it is said then."""
        try:
            self.log.connection.read(lambda _: None)
        except (sqlite3.Error, NewerFile, OSError) as error:  # the first row says it
            if raised_by_handler(error):
                raise

    # --- rows -------------------------------------------------------------------------------------

    def write(self, *rows: Row) -> None:
        """Accept rows (see Writer), and have them sent soon."""
        self.writer.write(*rows)
        self.background.wake()

    def flush(self, timeout: float) -> bool:
        """Commit and send everything; whether that was possible in this time (seconds)."""
        return self.background.flush(timeout)

    # --- running executions -----------------------------------------------------------------------

    def begin(self, execution: Execution) -> None:
        """Write that it runs; have signs of life sent, and nodes shown that take long, until it `ended`.

        It is committed at once in buffered mode too: other processes may add nodes to it.
        """
        self.write(execution.row)
        if self.settings.buffered:
            self.writer.commit_soon()
        self._running[execution.id] = execution
        self.background.started(execution.id, self.settings.heartbeat_seconds)

    def ended(self, execution: Execution) -> None:
        if self._running.pop(execution.id, None) is not None:
            self.background.ended(execution.id)

    def running(self, execution_id: str) -> Execution | None:
        """An execution that began in this process and runs still."""
        return self._running.get(execution_id)

    def _rows_of_running(self) -> list[Row]:
        """For a new file; their nodes are new in it, too."""
        running = list(self._running.values())
        for execution in running:
            for node in list(execution.open_nodes.values()):
                node.forget_row_id()
        return [execution.row for execution in running]

    def _show_long_nodes(self) -> float | None:
        """Write nodes that run for long; after how many seconds to look again, None when none runs."""
        before = now() - LONG_SECONDS
        running = list(self._running.values())
        for execution in running:
            execution.show_open_nodes(before)
        return LONG_SECONDS / 2 if running else None

    def after_fork(self) -> None:
        """In the child: what runs and what is kept is the parent's; nodes of the child are its own."""
        self.writer.after_fork()
        for execution in self._running.values():
            execution.after_fork()
        self._running.clear()

    # --- values -----------------------------------------------------------------------------------

    def json(self, value: Any) -> str:
        """Any value as JSON text without secrets."""
        return values.to_json(value, self.scrubber)

    def text(self, text: str, most: int) -> str:
        """A text without secrets; of one that is too long, its beginning and its end."""
        clean = values.storable(_cut(text, 4 * most).replace("\0", "\ufffd"))
        return _cut(self.scrubber.scrub_text(clean), most)

    def _clean_name(self, name: str) -> str:
        return self.text(name, LONGEST_NAME * 4)[:LONGEST_NAME] or "unnamed"

    def _complete(self, row: Row) -> None:
        if isinstance(row, UnfinishedNode):
            row.complete(self.scrubber)

    # --- trouble ----------------------------------------------------------------------------------

    def complain(self, doing: str, error: BaseException) -> None:
        """Say once what went wrong in this library; the workflow goes on.

        Called where the error was caught; what a signal's handler raised goes on from here.
        """
        if raised_by_handler(error):
            raise error
        if doing not in self._said:
            self._said.add(doing)
            say(logging.WARNING, "Flowwatch failed to %s: %r. The workflow goes on.", doing, error)


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    begin, end = text[: most // 4], text[-(most // 2) :]
    return f"{begin}\n… {len(text) - len(begin) - len(end)} characters cut …\n{end}"


def _hash_key(token: str | None) -> bytes:
    """Equal secrets get equal marks wherever the same token is used; without one, in this process."""
    if token is None:
        return secrets.token_bytes(32)
    return hashlib.blake2b(token.encode(), digest_size=32, person=b"flowwatch-scrub").digest()


_lock = threading.RLock()
_client: Client | None = None
_is_made = False


def active() -> Client | None:
    """The process's client, made when it is first needed; None when nothing is to be recorded."""
    return _client if _is_made else _make(None)


def configure(**changed: object) -> None:
    """Set for this process what the environment doesn't say, or says otherwise.

    The names are those of the variables: `configure(url="https://…", max_log_mb=100)` is
    FLOWWATCH_URL and FLOWWATCH_MAX_LOG_MB; None stands for the default. A wrong one is said on the
    logger "flowwatch_client" and nothing is recorded: this never raises.
    """
    before = _client
    _make(changed)
    if before is not None:
        before.background.close()


def flush(timeout: float = 5.0) -> bool:
    """Commit and send everything now; whether that was possible within `timeout` seconds."""
    client = _client
    return client is None or client.flush(timeout)


def _make(changed: Mapping[str, object] | None) -> Client | None:
    global _client, _is_made
    with _lock:
        if _is_made and changed is None:
            return _client
        try:
            settings = from_environment({**os.environ, **as_variables(changed or {})})
            made = Client(settings) if settings.enabled else None
            if made is not None:
                made.open()
        except BadSetting as error:
            say(logging.ERROR, "Flowwatch records nothing: %s", error)
            made = None
        except Exception as error:  # a workflow runs without its records, too
            if raised_by_handler(error):  # the next use makes it
                raise
            say(logging.ERROR, "Flowwatch records nothing: %r", error)
            made = None
        _client = made
        _is_made = True
    return _client


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.RLock()
    if _client is not None:
        _client.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
