"""Addresses of scheduling."""

from django.urls import path

from scheduling.pages import status

app_name = "scheduling"
urlpatterns = [
    path("internal/scheduler-status", status.scheduler_status_json, name="scheduler-status"),
    path("status/", status.status, name="status"),
]
