"""What the web server loads: Django in threads behind a reader that cuts slow and large bodies."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("FLOWWATCH_PROCESS", "web")

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import Resolver404, resolve

from config.bodies import BodyReader, Deadlines, Sizes
from config.bridge import Bridge

TAKE_LARGE_BODIES = frozenset({"monitoring:api-executions-batch", "monitoring:definition-upload"})
"""Names of the addresses whose bodies may be as large as a batch."""


def takes_large_bodies(path: str) -> bool:
    """Whether the address of this path is one of those."""
    try:
        return resolve(path).view_name in TAKE_LARGE_BODIES
    except Resolver404:
        return False


application = Bridge(
    get_wsgi_application(),
    threads=settings.WEB_THREADS,
    reader=BodyReader(
        Deadlines(total=settings.SLOW_BODY_TOTAL_SECONDS, idle=settings.SLOW_BODY_IDLE_SECONDS),
        Sizes(
            usual=settings.LIMITS.body_bytes,
            large=settings.LIMITS.batch_bytes,
            is_large=takes_large_bodies,
        ),
    ),
)
