"""Finds executions by a piece of their error's text without reading millions of messages.

Messages are searched in error groups, which are few: executions of the groups found come from the
index over fingerprints. Text that groups have masked (numbers, quoted values, paths) can only be
found in the messages themselves, so there the caller scans failures, a bounded slice at a time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.db.models import Q

from monitoring.models import ErrorGroup
from monitoring.recording.fingerprint import mask

MOST_GROUPS = 5_000
"""Groups that one search looks through; a tenant with more is scanned instead."""

MOST_FINGERPRINTS = 20
"""Fingerprints that one search follows; a text that more groups hold is scanned for instead."""

LOOKED_AT = 2_000
"""Characters of a message that a scan looks at; what is said first is what people remember."""

_CUT_OPEN = re.compile(r"[\"'`/@]|://")


@dataclass(frozen=True, slots=True)
class ErrorMatch:
    """Where executions with a text can be.

    `fingerprints`: only there (empty: nowhere); None: anywhere among the failures. `is_exact`:
    every execution of these fingerprints has the text; else its message must be compared too.
    """

    fingerprints: tuple[bytes, ...] | None
    is_exact: bool


_ANYWHERE = ErrorMatch(None, False)


def error_match(text: str) -> ErrorMatch:
    """Say where executions of the scope's tenant that failed with `text` can be found."""
    text = " ".join(text.split())
    if _is_masked_in_titles(text) or _has_too_many_groups():
        return _ANYWHERE
    in_title, in_sample = Q(title__icontains=text), Q(sample__icontains=text)
    found = list(
        ErrorGroup.objects.filter(in_title | in_sample)
        .annotate(by_title=in_title)
        .values_list("fingerprint", "by_title")[: MOST_FINGERPRINTS + 1]
    )
    if len(found) > MOST_FINGERPRINTS:
        return _ANYWHERE
    return ErrorMatch(
        tuple(bytes(fingerprint) for fingerprint, _ in found), all(whole for _, whole in found)
    )


def _is_masked_in_titles(text: str) -> bool:
    """Whether a title may not show what was asked for: masking would change it, or cut it open."""
    return mask(text) != text or _CUT_OPEN.search(text) is not None


def _has_too_many_groups() -> bool:
    return ErrorGroup.objects.order_by("-id")[MOST_GROUPS : MOST_GROUPS + 1].exists()
