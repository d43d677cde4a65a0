"""Which PostgreSQL, and as which of its two roles."""

from dataclasses import dataclass
from typing import Any

import dj_database_url

from config.environment import Environment
from config.home import Home
from config.postgres.cluster import APP_ROLE, OWNER_ROLE, Cluster

# A view that hangs must not hold a thread, and a forgotten transaction no lock, for ever.
WEB_SESSION_OPTIONS = "-c statement_timeout=10s -c idle_in_transaction_session_timeout=30s"


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """``app`` is Django's default; ``owner`` makes the schema, None when ``app`` does so itself."""

    app: dict[str, Any]
    owner: dict[str, Any] | None
    app_role: str
    embedded: bool


def database_settings(env: Environment, home: Home, *, pooled: bool) -> DatabaseSettings:
    """Connections of the operator's database when ``DATABASE_URL`` is set, else the embedded one's."""
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
    if pooled:
        app = app | _pooled(app, env)
    return DatabaseSettings(app, owner, app_role=str(app["USER"]), embedded=embedded)


def _pooled(app: dict[str, Any], env: Environment) -> dict[str, Any]:
    """One connection for each thread of a web process and two for the shared writer."""
    options = dict(app.get("OPTIONS", {}))
    options["pool"] = {"min_size": 2, "max_size": env.web_threads + 2, "timeout": 10}
    options["options"] = WEB_SESSION_OPTIONS
    return {"CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": True, "OPTIONS": options}
