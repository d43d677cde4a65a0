"""Settings, read from the environment once. Every variable is in the README's table.

A wrong value stops the start with one line that names the variable (``config.environment``).
"""

import datetime as dt
import hashlib
import os
from typing import Any

from config.database import database_settings
from config.environment import Environment
from config.home import home_from, resources
from config.limits import Limits
from config.mail import tls_of
from config.pace import Pace

env = Environment.read()
HOME = home_from(os.environ)

# What is asked of this process: "web" pools its connections, "tick" and "background" (clusters)
# keep one and wait for nobody, a "command" is a person's.
PROCESS = os.environ.get("FLOWWATCH_PROCESS", "command")

DEBUG = env.debug
SECRET_KEY = env.secret_key or HOME.secret("secret-key")
FRONTEND_URL = env.frontend_url
ALLOWED_HOSTS = env.allowed_hosts
CSRF_TRUSTED_ORIGINS = [FRONTEND_URL]
PORT = env.port

# --- apps ---------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "tenants.apps.OperatorAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "template_partials",
    "django_htmx",
    "csp",
    "django_q",
    "tenants",
    "monitoring",
    "scheduling",
    "alerts",
    "config",
]
AUTH_USER_MODEL = "tenants.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

MIDDLEWARE = [
    "monitoring.api.shortcut.TokenCalls",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    # After whitenoise, whose files are compressed already. Its random padding hides lengths (BREACH).
    "django.middleware.gzip.GZipMiddleware",
    "csp.middleware.CSPMiddleware",
    "config.headers.SecurityHeadersMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [resources() / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "tenants.context_processors.person",
            ],
        },
    },
]

# --- database -----------------------------------------------------------------------------------
_database = database_settings(env, HOME, process=PROCESS)
DATABASES = {"default": _database.app}
MIGRATION_DATABASE = _database.owner
APP_ROLE = _database.app_role
EMBEDDED_DATABASE = _database.embedded
# The disks that are watched (monitoring.disk); none where somebody else runs the database.
DATABASE_FOLDERS = _database.folders
DISK_WARN_PERCENT = env.disk_warn_percent
DISK_STOP_PERCENT = env.disk_stop_percent

# --- limits, ingest, slow senders ---------------------------------------------------------------
LIMITS = Limits()
SCRUB_EXTRA_KEYS = env.scrub_extra_keys
SCRUB_SAFE_KEYS = env.scrub_safe_keys
INGEST_WRITER = env.ingest_writer
WEB_THREADS = env.web_threads
SLOW_BODY_TOTAL_SECONDS = env.slow_body_total_seconds
SLOW_BODY_IDLE_SECONDS = env.slow_body_idle_seconds
# Views count bytes themselves (LIMITS); Django's own bound only concerns forms.
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2_000
DATA_UPLOAD_MAX_NUMBER_FILES = 1_000
TRUSTED_PROXIES = env.trusted_proxies
METRICS_TOKEN = env.metrics_token
METRICS_ALLOWED_NETWORKS = env.metrics_allowed_networks
PACE = Pace(env.pace)
# What a tenant may send when its operator set nothing else; 0: as much as comes.
QUOTA_EXECUTIONS_PER_MINUTE = env.quota_executions_per_minute
SCANS_ARE_KEPT = dt.timedelta(days=env.scan_retention_days)
OUTBOUND_ALLOWED_NETWORKS = env.outbound_allowed_networks

# --- the carrier of wake-ups --------------------------------------------------------------------
# Tasks are wake-ups of at most ten seconds, so that the timeout never fires; nothing here is trusted
# with more (docs/decisions/0006-carrier.md).
Q_CLUSTER: dict[str, Any] = {
    "name": "flowwatch",
    "orm": "default",
    "broker_class": "scheduling.broker.Wakes",
    "workers": 2,
    "bulk": 1,
    "queue_limit": 2,
    "timeout": 120,
    "retry": 300,
    "max_attempts": 1,
    "ack_failures": True,
    "save_limit": -1,
    "catch_up": False,
    "scheduler": False,
    "recycle": 500,
    "poll": 0.2,
    "guard_cycle": 1,
    # The sentinel's statistics go nowhere: each process would have a memory of its own for them.
    "cache": "none",
}

# --- people, sessions, mail ---------------------------------------------------------------------
AUTHENTICATION_BACKENDS = ["tenants.backends.PersonBackend"]
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "sign-in"
SECURE = FRONTEND_URL.startswith("https://")
# Browsers share cookies between ports of one host: the key's hash keeps two installations apart.
_cookie_suffix = hashlib.sha256(SECRET_KEY.encode()).hexdigest()[:8]
_cookie_prefix = "__Host-" if SECURE else ""
SESSION_COOKIE_NAME = f"{_cookie_prefix}flowwatch-{_cookie_suffix}"
CSRF_COOKIE_NAME = f"{_cookie_prefix}flowwatch-csrf-{_cookie_suffix}"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SESSION_ENGINE = "tenants.sessions"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 14 * 24 * 3600
PASSWORD_RESET_TIMEOUT = 24 * 3600
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# Without SMTP_HOST no mail can leave: pages ask MAIL_CONFIGURED and say what to do instead.
MAIL_CONFIGURED = bool(env.smtp_host)
EMAIL_BACKEND = (
    "config.mail.SmtpBackend" if MAIL_CONFIGURED else "django.core.mail.backends.dummy.EmailBackend"
)
EMAIL_HOST = env.smtp_host
EMAIL_PORT = env.smtp_port
EMAIL_HOST_USER = env.smtp_user
EMAIL_HOST_PASSWORD = env.smtp_password
EMAIL_USE_SSL, EMAIL_USE_TLS = tls_of(env.smtp_port)
EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.smtp_from

# --- what browsers are told ---------------------------------------------------------------------
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE
SECURE_HSTS_PRELOAD = False
# The proxy in front terminates TLS and says so; only then may the header be believed.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SECURE else None
SECURE_SSL_REDIRECT = False
# Redirecting http to https is the proxy's work, and its health probes speak http; whether a domain
# is put on the browsers' preload list is its owner's decision.
SILENCED_SYSTEM_CHECKS = ["security.W008", "security.W021"]

# --- static files -------------------------------------------------------------------------------
STATIC_URL = "static/"
STATICFILES_DIRS = [resources() / "static"]
STATIC_ROOT = HOME.path / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# --- language and time --------------------------------------------------------------------------
LANGUAGE_CODE = "en"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

# --- logging ------------------------------------------------------------------------------------
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"lines": {"()": "config.logs.LineFormatter"}},
    "filters": {"no refusals": {"()": "config.logs.NoRefusals"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
    "root": {"handlers": ["stderr"], "level": env.log_level},
    "loggers": {
        # One line for each refused request is noise under load; the answer itself says why.
        "django.request": {"level": "ERROR", "filters": ["no refusals"]},
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        # It tells of each canary.
        "django-q": {"level": "WARNING"},
    },
}
