"""What the Python client and the server both hold is the same in both."""

from __future__ import annotations

from config.home import SOURCE_ROOT
from monitoring.example.python_client import EXAMPLE


def test_the_client_holds_the_same_rules_for_secrets() -> None:
    ours = SOURCE_ROOT / "monitoring/recording/secret_rules.py"
    theirs = SOURCE_ROOT / "client/src/flowwatch_client/secret_rules.py"
    assert theirs.read_text() == ours.read_text(), "make client-rules"


def test_the_page_shows_the_clients_own_example() -> None:
    file = SOURCE_ROOT / "client/examples/invoices.py"
    _, _, code = file.read_text().partition('"""\n\n')
    assert [line for line in code.splitlines() if line] == [
        line for line in EXAMPLE.splitlines() if line
    ]
