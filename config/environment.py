"""The environment variables: their types, their defaults and what to say when one is wrong."""

import ipaddress
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

import environs
from django.core.exceptions import ImproperlyConfigured

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Environment:
    """What the operator set, checked. The README's table explains every field."""

    debug: bool
    secret_key: str
    frontend_url: str
    allowed_hosts: list[str]
    bind_address: str
    port: int
    web_workers: int
    web_threads: int
    database_url: str
    migration_database_url: str
    smtp_host: str
    smtp_port: int
    smtp_user: str
    smtp_password: str
    smtp_from: str
    outbound_allowed_networks: tuple[Network, ...]
    trusted_proxies: tuple[Network, ...]
    metrics_token: str
    metrics_allowed_networks: tuple[Network, ...]
    scrub_extra_keys: list[str]
    scrub_safe_keys: list[str]
    slow_body_total_seconds: float
    slow_body_idle_seconds: float
    ingest_writer: str
    pace: float
    scan_retention_days: int
    quota_executions_per_minute: int
    disk_warn_percent: int
    disk_stop_percent: int
    log_level: str

    @classmethod
    def read(cls) -> Self:
        """Check all variables; :class:`ImproperlyConfigured` names the first wrong one."""
        try:
            return cls._read(environs.Env())
        except environs.EnvError as error:
            raise ImproperlyConfigured(
                f"{error} README.md (Configuration) lists what each variable takes."
            ) from error

    @classmethod
    def _read(cls, env: environs.Env) -> Self:
        port = env.int("PORT", 8000, validate=environs.validate.Range(1, 65535))
        frontend_url = _origin(env.str("FRONTEND_URL", f"http://localhost:{port}"))
        return cls(
            debug=env.bool("DEBUG", False),
            secret_key=env.str("SECRET_KEY", ""),
            frontend_url=frontend_url,
            allowed_hosts=env.list("ALLOWED_HOSTS", _local_hosts(frontend_url)),
            bind_address=env.str("BIND_ADDRESS", "127.0.0.1"),
            port=port,
            web_workers=env.int("WEB_WORKERS", 2, validate=environs.validate.Range(1, 64)),
            web_threads=env.int("WEB_THREADS", 16, validate=environs.validate.Range(1, 256)),
            database_url=env.str("DATABASE_URL", ""),
            migration_database_url=env.str("MIGRATION_DATABASE_URL", ""),
            smtp_host=env.str("SMTP_HOST", ""),
            smtp_port=env.int("SMTP_PORT", 587, validate=environs.validate.Range(1, 65535)),
            smtp_user=env.str("SMTP_USER", ""),
            smtp_password=env.str("SMTP_PASS", ""),
            smtp_from=env.str("SMTP_FROM", "Flowwatch <flowwatch@localhost>"),
            outbound_allowed_networks=_networks(env, "OUTBOUND_ALLOWED_NETWORKS"),
            trusted_proxies=_networks(env, "TRUSTED_PROXIES"),
            metrics_token=env.str("METRICS_TOKEN", ""),
            metrics_allowed_networks=_networks(env, "METRICS_ALLOWED_NETWORKS"),
            scrub_extra_keys=env.list("SCRUB_EXTRA_KEYS", []),
            scrub_safe_keys=env.list("SCRUB_SAFE_KEYS", []),
            slow_body_total_seconds=env.float("SLOW_BODY_TOTAL_SECONDS", 30.0),
            slow_body_idle_seconds=env.float("SLOW_BODY_IDLE_SECONDS", 5.0),
            ingest_writer=env.str(
                "INGEST_WRITER", "thread", validate=environs.validate.OneOf(["thread", "inline"])
            ),
            pace=env.float("PACE", 1.0, validate=environs.validate.Range(0.01, 10.0)),
            quota_executions_per_minute=env.int(
                "QUOTA_EXECUTIONS_PER_MINUTE", 0, validate=environs.validate.Range(0, 2**31 - 1)
            ),
            disk_warn_percent=env.int(
                "DISK_WARN_PERCENT", 85, validate=environs.validate.Range(1, 100)
            ),
            disk_stop_percent=env.int(
                "DISK_STOP_PERCENT", 95, validate=environs.validate.Range(1, 100)
            ),
            scan_retention_days=env.int(
                "SCAN_RETENTION_DAYS", 90, validate=environs.validate.Range(1, 3_650)
            ),
            log_level=env.str("LOG_LEVEL", "INFO").upper(),
        )


def _origin(url: str) -> str:
    """``scheme://host[:port]`` without a path, as CSRF and links in mails need it."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise ImproperlyConfigured(
            f"FRONTEND_URL is {url!r}: give the address people open, without a path, "
            "for example https://flowwatch.example.com"
        )
    return f"{parts.scheme}://{parts.netloc}"


def _local_hosts(frontend_url: str) -> list[str]:
    return [urlsplit(frontend_url).hostname or "", "localhost", "127.0.0.1", "[::1]"]


def _networks(env: environs.Env, name: str) -> tuple[Network, ...]:
    texts: list[str] = env.list(name, [])
    try:
        return tuple(ipaddress.ip_network(text.strip()) for text in texts)
    except ValueError as error:
        raise ImproperlyConfigured(
            f"{name}: {error}; give networks such as 127.0.0.0/8,10.1.0.0/16"
        ) from error
