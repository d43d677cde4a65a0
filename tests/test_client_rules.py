"""The Python client scrubs by the rules of the server."""

from __future__ import annotations

from config.home import SOURCE_ROOT


def test_the_client_holds_the_same_rules_for_secrets() -> None:
    ours = SOURCE_ROOT / "monitoring/recording/secret_rules.py"
    theirs = SOURCE_ROOT / "client/src/flowwatch_client/secret_rules.py"
    assert theirs.read_text() == ours.read_text(), "make client-rules"
