"""One sender for each log file at a time: a lock that ends with the process that holds it."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def _try_lock(file: IO[bytes]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> None:
        # Locks of fcntl, unlike those of flock, are not inherited by a forked child: it would hold on
        # to them after its parent's end.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


# The system's locks tell processes apart, not threads.
_held: set[Path] = set()
_guard = threading.Lock()


def _open_privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextlib.contextmanager
def turn(log_path: Path) -> Iterator[bool]:
    """Whether the turn to send this file's records is ours, until the end of the block.

    Raises OSError when the lock's file, beside the log, can't be used.
    """
    path = log_path.with_name(f"{log_path.name}-sender").absolute()
    with _guard:
        ours = path not in _held
        _held.add(path)
    if not ours:
        yield False
        return
    try:
        with open(path, "ab", opener=_open_privately) as file:
            try:
                _try_lock(file)
            except (BlockingIOError, PermissionError):
                yield False
                return
            yield True
    finally:
        with _guard:
            _held.discard(path)


def _after_fork() -> None:
    global _guard
    _guard = threading.Lock()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
