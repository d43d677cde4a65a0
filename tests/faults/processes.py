"""Processes of this machine, and which part of a cluster each is."""

from __future__ import annotations

import contextlib
from itertools import count
from pathlib import Path


def lives(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def descendants(pid: int) -> list[int]:
    """Children, grandchildren and so on that live, parents first."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    found = [int(child) for child in children if lives(int(child))]
    return found + [below for child in found for below in descendants(child)]


def parts_of_cluster(watchdog: int) -> dict[str, int]:
    """A cluster's processes by what they are: watchdog, serve, sentinel, worker 1, …"""
    found: dict[str, int] = {"watchdog": watchdog}
    workers = count(1)
    for pid in descendants(watchdog):
        with contextlib.suppress(OSError):
            role = Path(f"/proc/{pid}/comm").read_text().strip().removeprefix("q-")
            found[f"worker {next(workers)}" if role == "worker" else role] = pid
    return found
