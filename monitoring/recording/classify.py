"""What kind of error a failure is: one small class for each kind.

Adding a kind of evidence is one class here; the first registered classifier that recognises a
failure decides. Severity follows from the class (`words.severity_of`).
"""

from __future__ import annotations

from typing import ClassVar

import re2

from monitoring.words import ErrorClass

_LONGEST = 2_000


class Classifier:
    """Recognises one error class by `pattern` (RE2, any case) in the message's first 2,000 characters."""

    error_class: ClassVar[ErrorClass]
    pattern: ClassVar[str]

    def __init__(self) -> None:
        self._words = re2.compile(f"(?i){self.pattern}")

    def recognises(self, message: str) -> bool:
        return self._words.search(message[:_LONGEST]) is not None


_registry: list[Classifier] = []


def register(classifier: type[Classifier]) -> type[Classifier]:
    _registry.append(classifier())
    return classifier


@register
class Payment(Classifier):
    """A charge, card, invoice payment or subscription failed: money is at stake."""

    error_class = ErrorClass.PAYMENT
    pattern = (
        r"\b(?:payment|card|charge|billing|transaction)s?\b.{0,40}\b(?:fail|declin|reject|refus|error|denied|expired)"
        r"|\b(?:declin|insufficient)\w*\b.{0,20}\b(?:card|funds|payment|balance)|\bcard_declined\b"
        r"|\b402\b.{0,20}payment|payment required|\bchargeback\b"
    )


@register
class RateLimit(Classifier):
    """The other side asks to slow down."""

    error_class = ErrorClass.RATE_LIMIT
    pattern = (
        r"rate.?limit|too many requests|\b429\b|quota (?:exceeded|reached)"
        r"|exceeded .{0,30}quota|throttl"
    )


@register
class Auth(Classifier):
    """Credentials are missing, wrong, expired or not enough."""

    error_class = ErrorClass.AUTH
    pattern = (
        r"unauthori[sz]ed|\b401\b|\b403\b|forbidden|authenticat|authori[sz]ation (?:fail|error|required|data)"
        r"|invalid (?:api.?key|token|credentials?|grant|signature|password|login)"
        r"|(?:api.?key|token|credentials?|password) .{0,30}"
        r"(?:invalid|expired|revoked|missing|incorrect|not (?:set|found|valid))"
        r"|access (?:was )?denied|permission|insufficient (?:scope|privilege)|invalid_grant|no credentials"
    )


@register
class Timeout(Classifier):
    """Something took longer than it was allowed to."""

    error_class = ErrorClass.TIMEOUT
    pattern = (
        r"time[sd]?.?out|ETIMEDOUT|ESOCKETTIMEDOUT|deadline exceeded|\b(?:408|504)\b|took too long"
        r"|connection was aborted|ECONNABORTED"
    )


@register
class Connection(Classifier):
    """The other side could not be reached or answered with a server error."""

    error_class = ErrorClass.CONNECTION
    pattern = (
        r"ECONN\w+|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|EPIPE|EPROTO"
        r"|connection (?:refused|reset|closed|error|lost)|refused the connection|socket hang ?up"
        r"|network|dns|getaddrinfo|unreachable|could not connect|not reachable"
        r"|\b50[0-3]\b|bad gateway|service (?:is )?(?:temporarily )?unavailable|internal server error|offline"
        r"|service was not able to process|certificate|\bSSL\b|\bTLS\b"
    )


@register
class NotFound(Classifier):
    """What was asked for is not there."""

    error_class = ErrorClass.NOT_FOUND
    pattern = (
        r"not.?found|\b404\b|\b410\b|does(?:n't| not) exist|no such|could not (?:be )?f(?:ind|ound)"
        r"|unknown (?:workflow|resource)"
    )


@register
class Resource(Classifier):
    """Memory, disk or another local resource ran out, or the process died of it."""

    error_class = ErrorClass.RESOURCE
    pattern = (
        r"out.of.memory|\bOOM\b|heap|ENOSPC|no space left|disk (?:full|quota)|too many open files"
        r"|EMFILE|resource exhausted|memory limit|did not finish"
    )


@register
class Validation(Classifier):
    """The data is not what the receiver takes."""

    error_class = ErrorClass.VALIDATION
    pattern = (
        r"validat|invalid|\b(?:400|409|422)\b|bad request|unprocessable|required|missing|malformed"
        r"|must (?:be|have|not)|already exists|duplicate|schema|cannot be (?:empty|null|blank)"
        r"|has no |unexpected (?:token|end)|parse|not a valid|out of range"
    )


@register
class Code(Classifier):
    """The workflow's own code is wrong."""

    error_class = ErrorClass.CODE
    pattern = (
        r"\b\w*(?:Type|Reference|Syntax|Range|Name|Key|Index|Attribute|Value|Import|ModuleNotFound|ZeroDivision|Assertion|Runtime)Error\b"
        r"|is not (?:defined|a function|iterable)|cannot read propert|undefined|NoneType|traceback"
        r"|division by zero|null pointer|maximum call stack"
    )


def classify(message: str) -> ErrorClass:
    """The class of an error by its message; UNKNOWN when no classifier recognises it."""
    for classifier in _registry:
        if classifier.recognises(message):
            return classifier.error_class
    return ErrorClass.UNKNOWN
