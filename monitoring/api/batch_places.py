"""How many batches of one tenant a web process stores at once, so that nobody else waits for threads."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.conf import settings

from tenants import problems

RETRY_AFTER_SECONDS: Final = 2

_lock = threading.Lock()
_taken: Counter[int] = Counter()


@contextmanager
def place_for(tenant_id: int) -> Iterator[None]:
    """Hold one of a tenant's places, half of the process's threads. Raises 503 when none is free."""
    most = max(1, settings.WEB_THREADS // 2)
    with _lock:
        if _taken[tenant_id] >= most:
            raise problems.unavailable(
                f"{most} batches of this tenant are being stored. Nothing of this one was; repeat it.",
                RETRY_AFTER_SECONDS,
            )
        _taken[tenant_id] += 1
    try:
        yield
    finally:
        with _lock:
            _taken[tenant_id] -= 1
            if not _taken[tenant_id]:
                del _taken[tenant_id]
