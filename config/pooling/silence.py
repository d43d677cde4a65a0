"""A database that hangs: who asked it gives up after some seconds, and others need not begin to.

PostgreSQL's own limits don't count while its processes are stopped or its machine is gone, and an
application's threads would wait for it for ever, soon all of them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

logger = logging.getLogger(__name__)

# Longer than `config.database` lets a statement of the web take.
ANSWER_SECONDS: Final = 12.0
# For what is nothing to do.
ECHO_SECONDS: Final = 3.0
# psycopg knows no shorter time to connect in.
CONNECT_SECONDS: Final = 2

Returned = TypeVar("Returned")


class Silence:
    """Begins when somebody had no answer, ends when a thread of its own has one."""

    def __init__(self) -> None:
        self._begun = threading.Lock()

    def refuse(self) -> None:
        """Raise `psycopg.OperationalError` while the database is silent."""
        if self._begun.locked():
            raise psycopg.OperationalError("the database does not answer")

    def begin(self, parameters: Mapping[str, Any]) -> None:
        """Nobody else need ask before it answers who connects with these parameters."""
        if self._begun.acquire(blocking=False):
            logger.error("the database does not answer")
            threading.Thread(
                target=self._listen, args=[parameters], name="silence", daemon=True
            ).start()

    def _listen(self, parameters: Mapping[str, Any]) -> None:
        try:
            while not _answers(parameters):
                continue
        finally:
            self._begun.release()
        logger.info("the database answers again")


def _answers(parameters: Mapping[str, Any]) -> bool:
    """Whether it says anything to who comes, be it no."""
    try:
        psycopg.connect(**{**parameters, "connect_timeout": CONNECT_SECONDS}).close()
    except psycopg.errors.ConnectionTimeout:
        return False
    except psycopg.Error:
        return True
    return True


silence = Silence()


class ImpatientConnection(psycopg.Connection[Any]):
    """Closes itself when it has waited for an answer too long, and says so to all."""

    patience = ANSWER_SECONDS
    parameters: Mapping[str, Any]

    @contextmanager
    def waiting_for_an_echo(self) -> Iterator[None]:
        """Ask something that is nothing to do."""
        self.patience = ECHO_SECONDS
        try:
            yield
        finally:
            self.patience = ANSWER_SECONDS

    def wait(
        self, gen: PQGen[Returned], interval: float = 0.1, timeout: float | None = None
    ) -> Returned:
        """As psycopg does, with a limit. Raises `psycopg.OperationalError` when it is reached."""
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.OperationalError:
            # A server that has answered, or is gone, leaves it in another state.
            if self.info.transaction_status == TransactionStatus.ACTIVE:
                silence.begin(self.parameters)
                self.close()
            raise
