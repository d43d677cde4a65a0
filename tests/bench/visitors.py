"""People beside a load: ten who browse, and one who exports again and again; a process of its own.

`python -m tests.bench.visitors <port> <seconds> <cookie>` prints a JSON line for each answer:
[seconds since 1970, what, milliseconds, status or 0, bytes].
"""

from __future__ import annotations

import http.client
import json
import random
import sys
import threading
import time
from typing import Final

PEOPLE: Final = 10
_PAGES: Final = (
    "/t/history/?range=24h",
    "/t/history/?range=7d",
    "/t/history/executions/?range=24h",
    "/t/history/executions/?range=7d&status=failed",
    "/t/history/workflows/?range=24h",
    "/t/bench/",
    "/t/bench/executions/",
)
_EXPORT: Final = "/t/history/executions/export.csv?range=7d"
_THINKING: Final = (1.0, 5.0)  # seconds between two pages of one person
_LONGEST: Final = 120.0
_printing = threading.Lock()


def main(port: int, seconds: float, cookie: str) -> None:
    """Browse and export for so long."""
    end = time.monotonic() + seconds
    threads = [threading.Thread(target=_browse, args=(port, cookie, end)) for _ in range(PEOPLE)]
    threads.append(threading.Thread(target=_export, args=(port, cookie, end)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _browse(port: int, cookie: str, end: float) -> None:
    while time.monotonic() < end:
        _ask(port, cookie, "page", random.choice(_PAGES))
        time.sleep(random.uniform(*_THINKING))


def _export(port: int, cookie: str, end: float) -> None:
    while time.monotonic() < end:
        _ask(port, cookie, "export", _EXPORT)
        time.sleep(2)


def _ask(port: int, cookie: str, what: str, path: str) -> None:
    begun, status, size = time.perf_counter(), 0, 0
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_LONGEST)
        connection.request("GET", path, headers={"Cookie": cookie, "Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        while part := answer.read(65_536):
            size += len(part)
        status = answer.status
        connection.close()
    except (OSError, http.client.HTTPException):
        status = 0  # no answer counts as an error
    took = 1_000 * (time.perf_counter() - begun)
    with _printing:
        print(json.dumps([time.time(), what, took, status, size]), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
