"""What can be set: by environment variables, or by `flowwatch_client.configure`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

VARIABLES = frozenset(
    f"FLOWWATCH_{name}"
    for name in (
        "URL", "TOKEN", "LOG", "ENABLED", "BUFFERED", "DURABLE", "SAMPLE", "VALUES", "THREADS",
        "VERSION", "HEARTBEAT_SECONDS", "EXIT_SECONDS", "MAX_LOG_MB", "SCRUB_EXTRA_KEYS",
        "SCRUB_SAFE_KEYS",
    )
)  # fmt: skip


class BadSetting(ValueError):
    """A setting has a value that it can't have; the text names it and says what it may be."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """All settings; the comment names the variable.

    Without `url` and `token` everything stays in the local log, and waits there for them.
    """

    url: str | None = None  # FLOWWATCH_URL
    token: str | None = None  # FLOWWATCH_TOKEN
    path: Path = dataclasses.field(default_factory=lambda: default_path())  # FLOWWATCH_LOG
    enabled: bool = True  # FLOWWATCH_ENABLED
    buffered: bool = False  # FLOWWATCH_BUFFERED: kill -9 may lose the last 200 ms
    durable: bool = False  # FLOWWATCH_DURABLE: commits survive a power cut; slower
    sample: float = 1.0  # FLOWWATCH_SAMPLE: share of successes that are kept with their nodes
    values: bool = True  # FLOWWATCH_VALUES: keep inputs and outputs
    threads: bool = True  # FLOWWATCH_THREADS: threads belong to the workflow that starts them
    version: str | None = None  # FLOWWATCH_VERSION: of the workflows; without, that of the checkout
    heartbeat_seconds: int = 60  # FLOWWATCH_HEARTBEAT_SECONDS
    exit_seconds: float = 2.0  # FLOWWATCH_EXIT_SECONDS: how long the exit may wait for sending
    max_log_bytes: int = 512 * 1024 * 1024  # FLOWWATCH_MAX_LOG_MB
    scrub_extra_keys: tuple[str, ...] = ()  # FLOWWATCH_SCRUB_EXTRA_KEYS
    scrub_safe_keys: tuple[str, ...] = ()  # FLOWWATCH_SCRUB_SAFE_KEYS

    @property
    def sends(self) -> bool:
        """Whether there is a server to send to."""
        return self.enabled and bool(self.url and self.token)


def default_path() -> Path:
    state = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    return state / "flowwatch" / "executions.db"


def absolute(name: str, text: str) -> Path:
    """The path that a setting gives. Raises BadSetting.

    Absolute: a program may change its directory before the file is opened, or opened again.
    """
    try:
        return Path(text).expanduser().absolute()
    except (OSError, RuntimeError) as error:  # no directory any more; no home
        raise BadSetting(f"{name} is {text!r}, which leads nowhere: {error}") from None


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings of the variables that are set and not empty. Raises BadSetting."""
    read = _Reader(environment)
    settings = Settings(
        url=read.url("FLOWWATCH_URL"),
        token=read.text("FLOWWATCH_TOKEN"),
        path=read.path("FLOWWATCH_LOG", default_path()),
        enabled=read.boolean("FLOWWATCH_ENABLED", True),
        buffered=read.boolean("FLOWWATCH_BUFFERED", False),
        durable=read.boolean("FLOWWATCH_DURABLE", False),
        sample=read.number("FLOWWATCH_SAMPLE", 1.0, 0, 1),
        values=read.boolean("FLOWWATCH_VALUES", True),
        threads=read.boolean("FLOWWATCH_THREADS", True),
        version=read.text("FLOWWATCH_VERSION"),
        heartbeat_seconds=int(read.number("FLOWWATCH_HEARTBEAT_SECONDS", 60, 5, 3_600)),
        exit_seconds=read.number("FLOWWATCH_EXIT_SECONDS", 2.0, 0, 3_600),
        max_log_bytes=int(read.number("FLOWWATCH_MAX_LOG_MB", 512, 1, 1_000_000) * 1024**2),
        scrub_extra_keys=read.names("FLOWWATCH_SCRUB_EXTRA_KEYS"),
        scrub_safe_keys=read.names("FLOWWATCH_SCRUB_SAFE_KEYS"),
    )
    if settings.buffered and settings.durable:
        raise BadSetting("FLOWWATCH_BUFFERED and FLOWWATCH_DURABLE contradict each other: set one.")
    return settings


def as_variables(values: Mapping[str, object]) -> dict[str, str]:
    """Values under the names of the variables without FLOWWATCH_, as they would stand there.

    Raises BadSetting for a name that there isn't.
    """
    variables = {f"FLOWWATCH_{name.upper()}": _text_of(value) for name, value in values.items()}
    if unknown := variables.keys() - VARIABLES:
        raise BadSetting(f"There is no {', '.join(sorted(unknown))}.")
    return variables


def _text_of(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, tuple, set, frozenset)):
        return ",".join(map(str, value))
    return str(value)


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, name: str) -> str | None:
        return self._environment.get(name, "").strip() or None

    def path(self, name: str, default: Path) -> Path:
        text = self.text(name)
        return absolute(name, text) if text else default

    def names(self, name: str) -> tuple[str, ...]:
        parts = (self.text(name) or "").split(",")
        return tuple(part.strip() for part in parts if part.strip())

    def boolean(self, name: str, default: bool) -> bool:
        text = (self.text(name) or "").lower()
        if not text:
            return default
        if text in ("1", "true", "yes", "on"):
            return True
        if text in ("0", "false", "no", "off"):
            return False
        raise BadSetting(f"{name} is {text!r}; it may be true or false.")

    def number(self, name: str, default: float, low: float, high: float) -> float:
        text = self.text(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise BadSetting(f"{name} is {text!r}; it may be a number from {low} to {high}.")
        return value

    def url(self, name: str) -> str | None:
        text = self.text(name)
        if text is None:
            return None
        if not text.startswith(("http://", "https://")):
            raise BadSetting(f"{name} is {text!r}; it must begin with http:// or https://.")
        return text.rstrip("/")
