"""What an operator writes into DATABASE_URL holds in every process, beside our own options."""

from pathlib import Path

import pytest

from config.database import WEB_SESSION_OPTIONS, database_settings
from config.environment import Environment
from config.home import Home

ADDRESS = "postgresql://someone@db.example.com/flowwatch?sslmode=require"
OWN_SESSION = "-c search_path=ours"


@pytest.mark.parametrize("process", ["web", "background", "tick", "command"])
def test_options_of_the_address_survive(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, process: str
) -> None:
    address = f"{ADDRESS}&options={OWN_SESSION.replace(' ', '%20').replace('=', '%3D')}"
    monkeypatch.setenv("DATABASE_URL", address)
    found = database_settings(
        Environment.read(), Home(tmp_path, run_as_root=False), process=process
    )
    options = found.app["OPTIONS"]
    assert options["sslmode"] == "require"
    assert options["options"].endswith(OWN_SESSION), "the last setting of a name wins"
    assert (WEB_SESSION_OPTIONS in options["options"]) is (process == "web")
    assert ("lock_timeout=2s" in options["options"]) is (process in ("background", "tick"))
    assert ("idle_session_timeout=30000ms" in options["options"]) is (process == "tick")
    assert (found.app["ENGINE"] == "config.pooling") is (process == "web")


def test_the_address_may_forbid_prepared_statements(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{ADDRESS}&options=-c%20plan_cache_mode%3Dauto")
    found = database_settings(Environment.read(), Home(tmp_path, run_as_root=False), process="web")
    assert found.app["OPTIONS"]["options"].endswith("plan_cache_mode=auto")
