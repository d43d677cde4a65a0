"""Which PostgreSQL, and as which of its two roles."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dj_database_url

from config.environment import Environment
from config.home import Home
from config.pace import Pace
from config.postgres.cluster import APP_ROLE, OWNER_ROLE, Cluster

# A view that hangs must not hold a thread, and a forgotten transaction no lock, for ever.
# A server that vanished without a word must not hold one either.
WEB_NETWORK_OPTIONS = {"connect_timeout": 10, "tcp_user_timeout": 10_000}
WEB_SESSION_OPTIONS = "-c statement_timeout=10s -c idle_in_transaction_session_timeout=30s"
# A process that is stopped in the midst of a transaction must not hold its rows longer than others
# need to notice; seconds at PACE 1.
BACKGROUND_IDLE_SECONDS = 30.0
BACKGROUND_SESSION_OPTIONS = "-c lock_timeout=2s -c statement_timeout=10s"

# Only the statements of `monitoring.prepared` are prepared: their plans are made once, for any
# parameters. Left to itself PostgreSQL plans many of them anew each time. A plan for any parameters
# looks dear, and no question is: to start parallel workers took longer than the answer (decision 0011).
PLANS = "-c plan_cache_mode=force_generic_plan -c max_parallel_workers_per_gather=0"


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """``app`` is Django's default; ``owner`` makes the schema, None when ``app`` does so itself.

    ``folders`` are those that the embedded server writes.
    """

    app: dict[str, Any]
    owner: dict[str, Any] | None
    app_role: str
    embedded: bool
    folders: tuple[Path, ...]


def database_settings(env: Environment, home: Home, *, process: str) -> DatabaseSettings:
    """Connections of the operator's database when ``DATABASE_URL`` is set, else the embedded one's."""
    folders: tuple[Path, ...] = ()
    if env.database_url:
        app = dict(dj_database_url.parse(env.database_url))
        owner = (
            dict(dj_database_url.parse(env.migration_database_url))
            if env.migration_database_url
            else None
        )
        embedded = False
    else:
        cluster = Cluster(home)
        app = cluster.django_settings(APP_ROLE)
        owner = cluster.django_settings(OWNER_ROLE)
        embedded = True
        folders = cluster.written_folders
    app = app | {"OPTIONS": _options(app, process, env)}
    if process == "web":
        # Our backend keeps connections between requests and tries each before it is used again.
        app = app | {"ENGINE": "config.pooling", "CONN_MAX_AGE": 0}
    elif process in ("background", "tick"):
        app = app | {"CONN_MAX_AGE": None}
    return DatabaseSettings(app, owner, str(app["USER"]), embedded, folders)


def _options(app: dict[str, Any], process: str, env: Environment) -> dict[str, Any]:
    """The options of the address with ours added; what both name, the address decides."""
    ours = {"prepare_threshold": 0} | (WEB_NETWORK_OPTIONS if process == "web" else {})
    options: dict[str, Any] = ours | dict(app.get("OPTIONS", {}))
    session = [PLANS, _session_limits(process, env), options.get("options", "")]
    options["options"] = " ".join(filter(None, session))
    return options


def _session_limits(process: str, env: Environment) -> str:
    if process == "web":
        return WEB_SESSION_OPTIONS
    if process in ("background", "tick"):
        idle_ms = round(1000 * Pace(env.pace).seconds(BACKGROUND_IDLE_SECONDS))
        limits = [BACKGROUND_SESSION_OPTIONS, f"-c idle_in_transaction_session_timeout={idle_ms}ms"]
        if process == "tick":  # it asks five times a second; one that is stopped must not lead on
            limits.append(f"-c idle_session_timeout={idle_ms}ms")
        return " ".join(limits)
    return ""
