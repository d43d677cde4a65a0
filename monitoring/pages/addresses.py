"""Addresses of many things of one kind: `reverse` once, not for each row."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Hashable
from functools import lru_cache

from django.urls import reverse


def execution_urls(slug: str) -> Callable[[uuid.UUID], str]:
    """A function from an execution's id to its page."""
    before, after = _around("monitoring:execution", slug, uuid.UUID(int=0))
    return lambda execution_id: f"{before}{execution_id}{after}"


def workflow_urls(slug: str) -> Callable[[int], str]:
    """A function from a workflow's number to its page."""
    before, after = _around("monitoring:workflow", slug, 1_234_567_890)
    return lambda workflow_id: f"{before}{workflow_id}{after}"


@lru_cache(maxsize=1_024)
def _around(view_name: str, slug: str, example: Hashable) -> tuple[str, str]:
    """What stands before and after the id; the id stands last, so a slug like it does no harm."""
    before, _, after = reverse(view_name, args=[slug, example]).rpartition(str(example))
    return before, after
