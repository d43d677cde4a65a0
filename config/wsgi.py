"""Plain WSGI, for another server than ours (then its proxy has to bound slow request bodies)."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("FLOWWATCH_PROCESS", "web")

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
