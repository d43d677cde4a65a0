"""What the web server loads: Django in threads behind a reader that cuts slow and large bodies."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("FLOWWATCH_PROCESS", "web")

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from config.bodies import BodyReader, Deadlines, Sizes
from config.bridge import Bridge
from config.telemetry import requests

application = Bridge(
    get_wsgi_application(),
    threads=settings.WEB_THREADS,
    reader=BodyReader(
        Deadlines(total=settings.SLOW_BODY_TOTAL_SECONDS, idle=settings.SLOW_BODY_IDLE_SECONDS),
        Sizes(usual=settings.LIMITS.body_bytes, large=settings.LIMITS.batch_bytes),
    ),
    observe=requests.count,
)
