"""Runs a program as if it had been started directly: its output, its signals, its exit status."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any

KEPT_BYTES = 16 * 1024
"""Of the end of each output."""
KILL_SECONDS = 10.0
"""How long a program that took too long has, after SIGTERM, to end by itself."""
TIMED_OUT = 124
CANT_RUN = 126
NOT_FOUND = 127
_READ_BYTES = 64 * 1024
_LOOKED_AT_BYTES = KEPT_BYTES + 4 * 1024
"""Of it: a secret through which the cut goes is known by its beginning."""
_LATE_SECONDS = 1.0
"""How long an output is passed on that somebody still holds open when the program has ended."""
_FORWARDED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_OF_TERMINAL = ("SIGINT", "SIGQUIT")
_STDOUT, _STDERR = 1, 2
# So that all that a script has started can be ended, not the script alone. No thread of ours runs when
# the program is started, which makes the older way safe.
_OWN_GROUP: Any = (
    {"process_group": 0} if sys.version_info >= (3, 11) else {"preexec_fn": os.setpgrp}
)


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a program ended: `exit_status` as a shell tells it (128 + n for signal n)."""

    exit_status: int
    signal: str | None = None
    timed_out: bool = False


class Tail:
    """Passes an output through, unchanged and at once, and keeps its end."""

    def __init__(self, source: int, target: int) -> None:
        self.bytes = 0
        self._passed = 0
        self._owed = 0
        self._is_closed = False
        self._source = source
        self._target = target
        self._kept = bytearray()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._pass, daemon=True)
        self._thread.start()

    def _pass(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._read():
                _write_all(self._target, data)
                self._passed += len(data)
        # Whoever read our output is gone: the program is told as it would have been told directly.
        with self._lock, contextlib.suppress(OSError):
            self._is_closed = True
            os.close(self._source)

    def _read(self) -> bytes:
        _wait_for_input(self._source)
        with self._lock:  # so that `program_ended` finds each byte either in the pipe or counted
            data = os.read(self._source, _READ_BYTES)
            self.bytes += len(data)
            self._kept += data
            del self._kept[:-_LOOKED_AT_BYTES]
        return data

    def program_ended(self) -> None:
        """What it has written until now is still to be passed on, however long a reader takes."""
        with self._lock:
            self._owed = self.bytes + (0 if self._is_closed else _waiting_bytes(self._source))

    def is_done(self, *, late: bool) -> bool:
        """Whether all is passed on; `late`: all that the program wrote, whoever else writes still."""
        return not self._thread.is_alive() or (late and self._passed >= self._owed)

    def text(self) -> str:
        """The end of it, with what is only looked at; what was cut within a letter is left out."""
        with self._lock:
            kept = bytes(self._kept)
        if self.bytes > len(kept):
            kept = kept.lstrip(bytes(range(0x80, 0xC0)))
        return kept.decode("utf-8", "replace")


def _wait_for_input(source: int) -> None:
    waiting = select.poll()
    waiting.register(source, select.POLLIN)
    waiting.poll()


def _waiting_bytes(source: int) -> int:
    """How many bytes a pipe holds."""
    try:
        answer = fcntl.ioctl(source, termios.FIONREAD, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(answer, sys.byteorder)


def open_closed_descriptors() -> None:
    """Let no file that is opened later take the place of an input or output that was closed.

    A log in the place of standard output would be written into.
    """
    opened = os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    while opened <= _STDERR:
        opened = os.dup(opened)
    os.close(opened)


def _write_all(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]


class Program:
    """A program that runs. Raises OSError when it can't be started."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], timeout: float | None
    ) -> None:
        at_terminal = _is_at_terminal()
        self._own_group = timeout is not None and not at_terminal
        self._skipped = _OF_TERMINAL if at_terminal else ()
        self._timed_out = False
        self._process: subprocess.Popen[bytes] | None = None
        self._came_early: list[int] = []
        self._is_hurried = False
        self._handlers = self._catch_signals()
        try:
            self._process = self._start(command, environment)
        except BaseException:  # our handlers of signals must not stay
            self.leave_signals()
            raise
        for number in self._came_early:
            self._send(number)
        self._timers: list[threading.Timer] = []
        if timeout is not None:
            self._later(timeout, self._end)

    def _start(
        self, command: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            **(_OWN_GROUP if self._own_group else {}),
        )
        assert process.stdout is not None
        assert process.stderr is not None
        self.stdout = Tail(os.dup(process.stdout.fileno()), _STDOUT)
        self.stderr = Tail(os.dup(process.stderr.fileno()), _STDERR)
        process.stdout.close()
        process.stderr.close()
        return process

    def wait(self) -> Ended:
        """Until it ends. Signals are caught until `leave_signals`, so that its end can be recorded."""
        assert self._process is not None
        status = self._process.wait()
        self._wait_for_output()
        for timer in self._timers:
            timer.cancel()
        name = _signal_name(-status) if status < 0 else None
        if self._timed_out:
            return Ended(TIMED_OUT, name, timed_out=True)
        return Ended(128 - status if status < 0 else status, name)

    def _wait_for_output(self) -> None:
        """Until it is passed on; a child of the program that holds it open still isn't waited for."""
        outputs = (self.stdout, self.stderr)
        for output in outputs:
            output.program_ended()
        until = time.monotonic() + _LATE_SECONDS
        while True:
            late = time.monotonic() > until
            if all(output.is_done(late=late) for output in outputs):
                return
            if late and (self._is_hurried or self._timed_out):
                return
            time.sleep(0.01)

    def _catch_signals(self) -> dict[int, Any]:
        """Pass signals on from now on; what was done with them before."""
        numbers = [getattr(signal, name) for name in _FORWARDED if hasattr(signal, name)]
        return {
            number: signal.signal(number, self._forward)
            for number in numbers
            if signal.getsignal(number) is not signal.SIG_IGN
        }

    def leave_signals(self) -> None:
        """Let signals do what they did before."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _forward(self, number: int, frame: FrameType | None) -> None:
        # A terminal has sent it to all processes of the group already.
        if _signal_name(number) in self._skipped:
            return
        if self._process is None:
            self._came_early.append(number)
            return
        self._is_hurried = self._process.returncode is not None
        self._send(number)

    def _send(self, number: int) -> None:
        process = self._process
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if process is not None and process.poll() is None:
                if self._own_group:
                    os.killpg(process.pid, number)
                else:
                    process.send_signal(number)

    def _end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._timed_out = True
            self._send(signal.SIGTERM)
            self._later(KILL_SECONDS, lambda: self._send(signal.SIGKILL))

    def _later(self, seconds: float, function: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, function)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()


def _is_at_terminal() -> bool:
    """Whether a terminal sends its signals (Ctrl-C) to this process."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
