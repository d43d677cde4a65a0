"""What the web server loads: Django in threads behind a reader that cuts slow bodies."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("FLOWWATCH_PROCESS", "web")

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from config.bridge import Bridge, Deadlines

application = Bridge(
    get_wsgi_application(),
    threads=settings.WEB_THREADS,
    deadlines=Deadlines(
        total=settings.SLOW_BODY_TOTAL_SECONDS, idle=settings.SLOW_BODY_IDLE_SECONDS
    ),
    largest_body=settings.LIMITS.batch_bytes,
)
