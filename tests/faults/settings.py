"""The tests' settings with chores to do, subscribers to tell, and the fault that MUTANT names."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.faults.app.FaultsConfig"]
