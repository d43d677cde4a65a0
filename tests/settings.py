"""The product's settings for the tests: a throw-away data folder and cheap password hashes."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

TEST_HOME_VARIABLE = "FLOWWATCH_TEST_HOME"
# The first process of a run makes the folder; its xdist workers and servers inherit the name.
if TEST_HOME_VARIABLE not in os.environ:
    os.environ[TEST_HOME_VARIABLE] = tempfile.mkdtemp(prefix="flowwatch-tests-")
    # As root, the database's own system user has to pass through.
    Path(os.environ[TEST_HOME_VARIABLE]).chmod(0o711)
    atexit.register(shutil.rmtree, os.environ[TEST_HOME_VARIABLE], ignore_errors=True)

for name in (
    "DATABASE_URL",
    "MIGRATION_DATABASE_URL",
    "FRONTEND_URL",
    "ALLOWED_HOSTS",
    "SMTP_HOST",
):
    os.environ.pop(name, None)
os.environ["FLOWWATCH_DATA"] = os.environ[TEST_HOME_VARIABLE]
os.environ.setdefault("SECRET_KEY", "only-for-tests-" + "x" * 50)

from config.settings import *  # noqa: E402, F403
from config.settings import ALLOWED_HOSTS, DATABASES, MIGRATION_DATABASE, STORAGES  # noqa: E402

TEST_DATABASE = "flowwatch_" + os.environ.get("PYTEST_XDIST_WORKER", "main")
DATABASES["default"]["NAME"] = TEST_DATABASE
assert MIGRATION_DATABASE is not None
MIGRATION_DATABASE["NAME"] = TEST_DATABASE

ALLOWED_HOSTS = [*ALLOWED_HOSTS, "testserver"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
MAIL_CONFIGURED = True
INGEST_WRITER = os.environ.get("INGEST_WRITER", "inline")
# Tests render templates without collecting files first.
STORAGES = STORAGES | {
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
}
# However full the disk of a developer's machine is.
DATABASE_FOLDERS = ()
WHITENOISE_AUTOREFRESH = WHITENOISE_USE_FINDERS = True
