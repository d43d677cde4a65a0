"""The rules for secrets as this installation has them: its key for marks, its own names of keys."""

from __future__ import annotations

import functools
import hashlib

from django.conf import settings

from monitoring.recording.secret_rules import VALUE_KEYS, Scrubber, Suspicion, TooDeep

__all__ = ["VALUE_KEYS", "Suspicion", "TooDeep", "scrubber"]


@functools.lru_cache(maxsize=1)
def scrubber() -> Scrubber:
    """What scrubs everything that is stored; its marks are keyed by `SECRET_KEY`."""
    return Scrubber(
        hashlib.blake2b(settings.SECRET_KEY.encode(), person=b"fw-scrub").digest(),
        extra_keys=settings.SCRUB_EXTRA_KEYS,
        safe_keys=settings.SCRUB_SAFE_KEYS,
        depth=settings.LIMITS.depth,
    )
