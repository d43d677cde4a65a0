"""The tests' settings with chores to do, subscribers to tell, and the fault that MUTANT names."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.faults.app.FaultsConfig"]

# The mail server of tests of alerts.
EMAIL_BACKEND = "config.mail.SmtpBackend"
EMAIL_HOST, EMAIL_PORT = "127.0.0.1", int(os.environ.get("FAULTS_SMTP_PORT", "0"))
EMAIL_USE_TLS = EMAIL_USE_SSL = False
