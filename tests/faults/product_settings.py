"""The product's own settings with what these tests add: chores, subscribers, the fault of MUTANT."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.faults.app.FaultsConfig"]
