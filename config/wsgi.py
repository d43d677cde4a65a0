"""What the web server loads: Django behind the deadline for slow request bodies."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("FLOWWATCH_PROCESS", "web")

from django.core.wsgi import get_wsgi_application  # noqa: E402 - settings are chosen above

application = get_wsgi_application()
