"""Orders of many workflows, which whole buckets of long ranges give: kept for a few seconds.

Only what decides who stands where is kept: the numbers that pages show are read anew and exact.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from typing import Any, Final

from django.core.cache import cache

from monitoring.prepared import fetch_all

KEPT_SECONDS: Final = 10.0


def rows_in_order(
    statement: str, params: Sequence[Any], *, more_than: int
) -> list[tuple[Any, ...]]:
    """The rows: read anew, or the same question's answer of the last seconds.

    Up to `more_than` rows are not kept: so few are cheap, and who looks at them sees each change.
    `params` name the tenant, so that no answer is another's.
    """
    key = "order-" + hashlib.sha256(pickle.dumps((statement, params))).hexdigest()
    kept: list[tuple[Any, ...]] | None = cache.get(key)
    if kept is not None:
        return kept
    found = fetch_all(statement, params)
    if len(found) > more_than:
        cache.set(key, found, KEPT_SECONDS)
    return found
