"""Processes end together: every child watches a pipe to its parent.

The parent holds the writing end and never writes; however it ends, kill -9 included, the kernel
closes the pipe and the child reads end of file.
"""

import contextlib
import fcntl
import os
import signal
import sys
import threading
import time

VARIABLE = "FLOWWATCH_LIFELINE"
# Set for the parts of ``flowwatch run``: somebody else cares for the database.
SUPERVISED = "FLOWWATCH_SUPERVISED"
GRACE_SECONDS = 20.0


def take_lifeline() -> int | None:
    """The descriptor to watch, when the parent gave one; grandchildren will not hold it."""
    number = os.environ.pop(VARIABLE, None)
    if number is None:
        return None
    descriptor = int(number)
    os.set_inheritable(descriptor, False)
    return descriptor


def follow_parent() -> None:
    """End the own process group when the parent ends (a thread watches): TERM, 20 s, KILL."""
    descriptor = take_lifeline()
    if descriptor is not None:
        threading.Thread(target=_follow, args=(descriptor,), name="lifeline", daemon=True).start()


def _follow(descriptor: int) -> None:
    while os.read(descriptor, 1):
        continue
    end_own_group()


def end_own_group() -> None:
    """TERM to the own process group, and KILL to what is left of it after the grace."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os.killpg(0, signal.SIGKILL)
    else:  # somebody started us by hand inside a foreign group
        os.kill(os.getpid(), signal.SIGTERM)


class Lifeline:
    """The parent's side: one pipe for one child."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def environment(self) -> dict[str, str]:
        """What the child needs to find its end; pass ``reader`` in ``pass_fds``."""
        return {VARIABLE: str(self.reader)}

    def child_started(self) -> None:
        """Close the child's end here."""
        os.close(self.reader)

    def cut(self) -> None:
        """Tell the child to end."""
        os.close(self.writer)


class SignalPipe:
    """Wakes ``select`` when a child ends or one of ``ending`` arrives."""

    def __init__(self, *ending: signal.Signals) -> None:
        self.asked_to_end = False
        self._ending = ending
        self.reader, writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in ending:
            signal.signal(number, self._end)

    def forget(self) -> None:
        """In a fork: nothing wakes the parent any more."""
        signal.set_wakeup_fd(-1)
        for number in self._ending:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def drain(self) -> None:
        """Forget the wake-ups so far."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.reader, 4096)

    def _end(self, *_: object) -> None:
        self.asked_to_end = True


def lock_file(
    path: str | os.PathLike[str], *, shared: bool = False, wait: bool = True
) -> int | None:
    """Take an advisory lock that ends with this process; None when it is taken and not waited for.

    Returns the descriptor that holds it (closed by exec, so that no child keeps the lock).
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def complain(message: str) -> None:
    """One message for people on standard error."""
    sys.stderr.write(f"flowwatch: {message}\n")
    sys.stderr.flush()
