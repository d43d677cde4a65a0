"""Masks what varies in an error's text, so that like failures get the same fingerprint."""

from __future__ import annotations

import hashlib

import re2

FINGERPRINT_BYTES = 16
_LONGEST = 1_000
# In this order: a path may hold a uuid, a time holds numbers. RE2: linear in the sender's text.
_MASKS = [
    (re2.compile(pattern), mask)
    for pattern, mask in (
        (r"(?i)\b[a-z][a-z0-9+.-]{1,20}://[^\s\"'<>)\]]+", "<url>"),
        (r"(?i)\b[0-9a-z._%+-]+@[0-9a-z.-]+\.[a-z]{2,}\b", "<email>"),
        (r"(?i)\b[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\b", "<id>"),
        (
            r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?",
            "<time>",
        ),
        (r"\b\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?\b", "<time>"),
        (r"\[scrubbed:[a-z-]+:[0-9a-f]+\]", "<secret>"),
        (r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b", "<address>"),
        (r"(?:/[\w.@-]+){2,}/?", "<path>"),
        (r"\"[^\"]{0,500}\"", "<text>"),
        (r"`[^`]{0,500}`", "<text>"),
        (r"(^|[\s(:=,\[])'[^']{0,500}'", r"\1<text>"),
        (r"(?i)\b0x[0-9a-f]+\b", "<id>"),
        (r"(?i)\b[0-9a-z]*(?:[a-z][0-9]|[0-9][a-z])[0-9a-z]{6,}\b", "<id>"),
        (r"[+-]?\d(?:[\d.,]*\d)?", "<n>"),
        (r"\s+", " "),
    )
]


def mask(message: str) -> str:
    """The message with urls, ids, times, paths, quoted values and numbers masked; one line.

    Looks at the first 1,000 characters: what makes an error distinct stands at its beginning.
    """
    text = message[:_LONGEST]
    for pattern, replacement in _MASKS:
        text = pattern.sub(replacement, text)
    return text.strip() or "(no message)"


def fingerprint(title: str) -> bytes:
    """16 bytes that are the same for the same masked text."""
    return hashlib.blake2b(
        title.lower().encode("utf-8", "replace"), digest_size=FINGERPRINT_BYTES
    ).digest()
