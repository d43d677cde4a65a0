"""Addresses of alerts' pages, sorted."""

from django.urls import path

from alerts.pages import acknowledge, deliveries, inbox, incident, settings, workflow_tab

_ALERTS = "t/<slug:slug>/alerts/"
_SETTINGS = f"{_ALERTS}settings/"

urlpatterns = [
    path("alerts/acknowledge/<str:token>/", acknowledge.from_link, name="acknowledge-link"),
    path(_ALERTS, inbox.inbox, name="inbox"),
    path(f"{_ALERTS}act/", inbox.act, name="act"),
    path(f"{_ALERTS}<int:incident_id>/", incident.incident_page, name="incident"),
    path(f"{_ALERTS}deliveries/", deliveries.delivery_log, name="deliveries"),
    path(
        f"{_ALERTS}deliveries/<int:notification_id>/send/",
        deliveries.send_again,
        name="send-again",
    ),
    path(_SETTINGS, settings.settings_page, name="settings"),
    path(f"{_SETTINGS}preview/", settings.preview_part, name="preview"),
    path(f"{_SETTINGS}secret/", settings.renew_secret, name="renew-secret"),
    path(f"{_SETTINGS}switch-on/", settings.switch_on, name="switch-on"),
    path(f"{_SETTINGS}test/", settings.test, name="test"),
    path(f"{_SETTINGS}workflows/<int:workflow_id>/", workflow_tab.preference_page, name="workflow"),
]
