"""Sends what waits, as fast as the server takes it, and backs off when it does not.

All waiting is measured by the monotonic clock: a wall clock that is set changes nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import logging
import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence

from flowwatch_client.delivery.answers import Judged, Next, judge
from flowwatch_client.delivery.http import Server, Unanswered
from flowwatch_client.delivery.message import Batch, Line, MessageClock, microseconds, take
from flowwatch_client.delivery.turn import turn
from flowwatch_client.log import outbox
from flowwatch_client.log.connection import Connection
from flowwatch_client.log.schema import NewerFile
from flowwatch_client.saying import say

PATH = "/api/executions/batch"
MOST_RECORDS = 1_000
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
RARE_PAUSE = 300.0
TURN_PAUSE = 1.0
"""When another process is sending this file's records."""
_MOST_DIVIDED = 1_000
_TRIES_FROM_THE_FIRST = 3
"""In a row; from then on sending begins anywhere, because the first record may be what fails."""
_REFUSALS_IN_A_ROW = 20
"""Of single records; then a pause, so that a server that refuses everything empties no log at once."""
_UNUSABLE = (sqlite3.Error, NewerFile, OSError)
_HEADERS = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}


class Sender:
    """Sends the records of one file. `pause_left` says how long not to try again by itself.

    `reading` is a connection of its own, so that the workflow never waits for a reader; the short
    writes go through `writing`, the workflow's, which is fairer than the file's own lock.
    """

    def __init__(self, server: Server, reading: Connection, writing: Connection) -> None:
        self._server = server
        self._reading = reading
        self._writing = writing
        self._clock = MessageClock()
        self._failures = 0
        self._refusals = 0
        self._next_try = 0.0
        self._asked_to_wait = False
        self._most_records = MOST_RECORDS
        self._divided: set[str] = set()
        self._after = 0
        self._taken_from: tuple[int, int] | None = None
        self._said = ""
        self._is_hushed = False
        self._is_first = True
        self.lacks_turn = False
        """Whether the last try found another process sending, and something left to send."""

    def hush(self) -> None:
        """Say nothing any more."""
        self._is_hushed = True

    def pause_left(self) -> float:
        """Seconds until the next try."""
        return max(self._next_try - time.monotonic(), 0.0)

    def may_hurry(self) -> bool:
        """Whether a try before its time is fair: the server itself asked for no pause."""
        return not self._asked_to_wait or self.pause_left() == 0

    def send_waiting(self, may_go_on: Callable[[], bool]) -> bool:
        """Send until nothing waits; whether nothing does. Stops at trouble, which sets a pause."""
        try:
            with turn(self._writing.path) as ours:
                self.lacks_turn = not ours and self._waits()
                if not ours:
                    self._pause(TURN_PAUSE)
                    return not self.lacks_turn
                return self._send_batches(may_go_on)
        except _UNUSABLE as error:
            self._trouble(Judged(Next.AGAIN, trouble=f"the log can't be used: {error}"))
            return False

    def _waits(self) -> bool:
        with self._reading.reading() as connection:
            return bool(outbox.waiting(connection, after=0, most=1))

    def _send_batches(self, may_go_on: Callable[[], bool]) -> bool:
        while may_go_on():
            batch, told = self._take()
            if batch.gone:
                with self._settling() as connection:
                    outbox.forget(connection, batch.gone)
            if not batch.lines:
                if not batch.gone and not self._after:
                    return True
                self._after = 0
                continue
            judged = self._send(batch.lines)
            self._settle(judged, told)
            if judged.next is Next.SMALLER:
                if not self._divide(batch.lines, judged):
                    return False
            elif judged.trouble:
                self._trouble(judged)
                return False
            else:
                self._well()
                if self._after:
                    self._after = max(batch.seqs)
        return False

    def _take(self) -> tuple[Batch, int]:
        """What to send next, and the time it tells as that of its last change."""
        with self._reading.reading() as connection:
            self._taken_from = self._reading.file
            updated_at = self._clock.next(outbox.told(connection))
            batch = take(
                connection,
                most_records=self._most_records,
                updated_at=updated_at.isoformat(),
                after=self._after,
                singly=self._divided,
            )
            return batch, microseconds(updated_at)

    def _send(self, lines: Sequence[Line]) -> Judged:
        body = gzip.compress(b"\n".join(line.text for line in lines), compresslevel=1)
        try:
            answer = self._server.post(PATH, body, _HEADERS)
        except Unanswered as error:
            return Judged(Next.AGAIN, trouble=str(error))
        return judge(answer, lines)

    def _settle(self, judged: Judged, told: int) -> None:
        """Write down what the answer says, in one commit."""
        refused = [each for each in judged.refused if not self._may_divide(each[0])]
        if not judged.sent and not refused:
            return
        with self._settling() as connection:
            outbox.sent(connection, [seq for line in judged.sent for seq in line.seqs])
            for line, reason in refused:
                outbox.refused(connection, line.seqs, reason)
            outbox.tell(connection, told)
        for line, reason in refused:
            self._say(f"refused for good, execution {line.execution_id}: {reason}")

    @contextlib.contextmanager
    def _settling(self) -> Iterator[sqlite3.Connection]:
        """A transaction in the file from which was taken: another one has the same numbers anew."""
        with self._writing.transaction() as connection:
            if self._writing.file != self._taken_from:
                raise sqlite3.OperationalError("its file was deleted or replaced meanwhile")
            yield connection

    def _may_divide(self, line: Line) -> bool:
        """Whether only a part of a refused line is to blame, perhaps; then its parts go alone."""
        if line.records == 1:
            return False
        if len(self._divided) >= _MOST_DIVIDED:
            self._divided.clear()
        self._divided.add(line.execution_id)
        return True

    def _divide(self, lines: Sequence[Line], judged: Judged) -> bool:
        """The server refuses the whole body: halve it, until it is clear what it refuses.

        Whether to go on at once.
        """
        if len(lines) > 1 or lines[0].records > 1:
            self._most_records = max(1, sum(line.records for line in lines) // 2)
            return True
        if not judged.is_own:
            self._trouble(dataclasses.replace(judged, next=Next.RARELY))
            self._after = max(lines[0].seqs)  # the others first, next time
            return False
        with self._settling() as connection:
            outbox.refused(connection, lines[0].seqs, judged.trouble)
        self._say(f"refused for good, execution {lines[0].execution_id}: {judged.trouble}")
        self._refusals += 1
        if self._refusals % _REFUSALS_IN_A_ROW:
            return True
        row = f"{self._refusals} records in a row were refused: {judged.trouble}"
        self._trouble(Judged(Next.AGAIN, trouble=row))
        return False

    def _well(self) -> None:
        if self._failures and not self._is_hushed:
            say(logging.INFO, "Sending to %s works again.", self._server.url)
        if self._failures or self._is_first:
            self._note(None)
        self._failures = 0
        self._refusals = 0
        self._next_try = 0.0
        self._asked_to_wait = False
        self._said = ""
        self._most_records = min(self._most_records * 2, MOST_RECORDS)

    def _note(self, trouble: str | None) -> None:
        """Keep in the file why it is not sent, for `doctor`: whoever looks is another process."""
        self._is_first = False
        try:
            with self._writing.transaction() as connection:
                outbox.note_trouble(connection, trouble)
        except _UNUSABLE as error:
            say(logging.DEBUG, "The log %s took no note: %s", self._writing.path, error)

    def _trouble(self, judged: Judged) -> None:
        if judged.trouble != self._said:
            self._note(judged.trouble)
        self._say(judged.trouble)
        self._failures += 1
        # Full jitter: many clients of one server that comes back don't come all at once.
        most = min(FIRST_PAUSE * 2.0 ** min(self._failures - 1, 10), LONGEST_PAUSE)
        pause = random.uniform(0.05, most)  # noqa: S311
        if judged.next is Next.RARELY:
            pause = random.uniform(0.5, 1.0) * RARE_PAUSE  # noqa: S311
        self._asked_to_wait = judged.next is Next.RARELY or judged.retry_after > 0
        self._pause(judged.retry_after + pause)
        if self._failures >= _TRIES_FROM_THE_FIRST:
            self._begin_anywhere()
        self._most_records = max(1, self._most_records // 2)

    def _begin_anywhere(self) -> None:
        """A record that a server or what stands before it can't bear must not hold up all others."""
        with contextlib.suppress(*_UNUSABLE), self._reading.reading() as connection:
            first = outbox.waiting(connection, after=0, most=1)
            last = outbox.last_waiting(connection)
            if first and self._after:
                self._after = 0
            elif first and first[0].seq < last:
                self._after = random.randrange(first[0].seq, last)  # noqa: S311

    def _pause(self, seconds: float) -> None:
        self._next_try = time.monotonic() + seconds

    def _say(self, what: str) -> None:
        """Once, until it changes."""
        if what != self._said and not self._is_hushed:
            self._said = what
            say(logging.WARNING, "Sending to %s: %s", self._server.url, what)
