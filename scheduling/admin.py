"""The admin without django-q2's pages: they would run any function that a row names."""

from django.contrib import admin
from django_q.models import Failure, OrmQ, Schedule, Success

for model in (Failure, OrmQ, Schedule, Success):
    admin.site.unregister(model)
