"""What the command line does before Django starts."""

import os
from pathlib import Path

import pytest

from config import cli, home


def test_a_checkouts_env_file_adds_but_never_overrides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("SMTP_HOST=mail.example.com\nPORT=1\n")
    monkeypatch.setattr(cli, "SOURCE_ROOT", tmp_path)
    monkeypatch.setenv("PORT", "9000")
    monkeypatch.setenv("SMTP_HOST", "")  # remembered, so that the end of the test removes it
    del os.environ["SMTP_HOST"]
    cli.read_env_file()
    assert os.environ["SMTP_HOST"] == "mail.example.com"
    assert os.environ["PORT"] == "9000"


def test_an_installed_package_reads_nothing_beside_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In site-packages anybody's files lie beside it."""
    for name in ("templates", "static", "shipped"):
        (tmp_path / name).mkdir()
    (tmp_path / ".env").write_text("SMTP_HOST=mail.example.com\n")
    (tmp_path / "manage.py").touch()
    monkeypatch.setattr(cli, "SOURCE_ROOT", tmp_path)
    monkeypatch.setattr(home, "SOURCE_ROOT", tmp_path)
    monkeypatch.setattr(home, "SHIPPED", tmp_path / "shipped")
    monkeypatch.delenv("SMTP_HOST", raising=False)
    cli.read_env_file()
    assert "SMTP_HOST" not in os.environ
    assert home.resources() == tmp_path / "shipped"


def test_a_checkout_has_its_templates_at_the_top() -> None:
    for name in ("templates", "static"):
        assert (home.resources() / name).is_dir()
        assert (home.SOURCE_ROOT / name).samefile(home.resources() / name)


def test_folders_are_meant_from_where_the_command_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLOWWATCH_DATA", "data")
    cli.make_paths_absolute()
    assert os.environ["FLOWWATCH_DATA"] == str(tmp_path / "data")
