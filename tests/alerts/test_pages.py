"""The pages of alerts: inbox, incident, settings, deliveries, the link of a mail."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from pytest_django import Settings

from alerts import links
from alerts.channels.webhook.channel import is_secret, new_secret
from alerts.models import (
    AlertSettings,
    Incident,
    Notification,
    SeverityOverride,
    WorkflowPreference,
)
from monitoring.models import Workflow
from monitoring.words import ErrorClass, Severity
from tenants import audit
from tenants.models import AuditEvent, Role, Tenant
from tenants.scoping import tenant_scope
from tests.alerts.factories import fail, make_settings, settle, succeed
from tests.alerts.test_scan_news import finish_scan
from tests.monitoring.factories import make_workflow
from tests.tenants.factories import make_member, signed_in_as

pytestmark = pytest.mark.django_db
INBOX = "/t/alerts/alerts/"


@pytest.fixture
def admin(tenant: Tenant) -> Client:
    return signed_in_as(make_member(tenant, Role.ADMIN))


@pytest.fixture
def incident(tenant: Tenant, workflow: Workflow) -> Incident:
    make_settings(tenant, "ops@example.com")
    fail(workflow, 3)
    settle()
    with tenant_scope(tenant):
        return Incident.objects.get()


def page(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def again(incident: Incident) -> Incident:
    with tenant_scope(incident.tenant):
        return Incident.objects.get(pk=incident.pk)


# --- inbox and incident ---------------------------------------------------------------------------


def test_the_inbox_says_what_to_do_while_nothing_has_happened(
    admin: Client, tenant: Tenant
) -> None:
    assert "Say who is told of what" in page(admin, INBOX)
    viewer = signed_in_as(make_member(tenant))
    assert "Say who is told of what" not in page(viewer, INBOX)


def test_the_inbox_shows_open_incidents_and_filters_by_its_address(
    admin: Client, incident: Incident
) -> None:
    assert incident.title in page(admin, INBOX)
    assert incident.title in page(admin, f"{INBOX}?severity=warning&rule=failures&status=open")
    assert incident.title not in page(admin, f"{INBOX}?severity=critical")
    assert "No incident matches" in page(admin, f"{INBOX}?status=resolved")
    assert incident.title in page(admin, f"{INBOX}?status=nonsense&page=x&summary=y&workflow=-1")


def test_the_inbox_tells_how_many_came_since_it_was_shown(
    admin: Client, workflow: Workflow, incident: Incident
) -> None:
    shown = page(admin, INBOX)
    [address] = re.findall(r'id="news"[^>]* hx-get="([^"]+)"', shown)
    asked = {"HX-Request": "true", "HX-Target": "news"}
    assert admin.get(html.unescape(address), headers=asked).status_code == 204
    fail(make_workflow(workflow.environment, name="Other"), 3)
    settle()
    answer = admin.get(html.unescape(address), headers=asked)
    assert "1 new" in answer.content.decode()
    other = html.unescape(address).replace("status=unresolved", "status=resolved")
    assert admin.get(other, headers=asked).status_code == 204
    assert admin.get(f"{INBOX}?since=x", headers=asked).status_code == 400


def test_many_incidents_are_acknowledged_and_resolved_at_once(
    admin: Client, incident: Incident, workflow: Workflow
) -> None:
    fail(make_workflow(workflow.environment, name="Other"), 3)
    settle()
    with tenant_scope(incident.tenant):
        ids = list(Incident.objects.values_list("pk", flat=True))
    answer = admin.post(
        f"{INBOX}act/", {"act": "acknowledge", "id": ids, "back": INBOX}, follow=True
    )
    assert "2 incidents acknowledged." in answer.content.decode()
    answer = admin.post(f"{INBOX}act/", {"act": "acknowledge", "id": ids}, follow=True)
    assert "Nothing to do: what you chose was acknowledged or over" in answer.content.decode()
    assert again(incident).acknowledged_by.startswith("person-")
    admin.post(f"{INBOX}act/", {"act": "resolve", "id": ids, "back": "https://evil.example/"})
    assert again(incident).is_resolved
    assert "Nothing is open" in page(admin, INBOX)
    with tenant_scope(incident.tenant):
        acts = list(AuditEvent.objects.order_by("id").values_list("action", flat=True))
    assert acts == ["incident.acknowledge"] * 2 + ["incident.resolve"] * 2


@pytest.mark.parametrize("data", [{}, {"act": "resolve"}, {"act": "drop", "id": "1"}, {"id": "x"}])
def test_nonsense_acts_on_nothing(admin: Client, incident: Incident, data: dict[str, str]) -> None:
    assert admin.post(f"{INBOX}act/", data).status_code == 302
    assert again(incident).status == "open"


def test_the_way_back_leads_nowhere_else(admin: Client, incident: Incident) -> None:
    data = {"act": "resolve", "id": incident.pk, "back": "//evil.example/"}
    assert admin.post(f"{INBOX}act/", data)["Location"] == INBOX


def test_an_incidents_page_shows_what_happened_and_who_was_told(
    admin: Client, incident: Incident, workflow: Workflow
) -> None:
    succeed(workflow, 3)
    settle()
    text = page(admin, f"{INBOX}{incident.pk}/")
    assert "3 successes in a row." in text
    assert text.count(">Mail ops@example.com<") == 2
    log = page(admin, f"{INBOX}deliveries/")
    assert re.search(r"Resolved: <a[^>]*>Invoice sync failed", log), "its kind is said once"
    assert f"workflow={workflow.pk}&amp;status=failed&amp;status=partial&amp;start=" in text


def test_an_incident_says_what_ends_it(
    admin: Client, incident: Incident, workflow: Workflow
) -> None:
    path = f"{INBOX}{incident.pk}/"
    assert "After 3 successes in a row, or 24 hours without a failure" in page(admin, path)
    succeed(workflow, 3)
    settle()
    assert "successes in a row, or" not in page(admin, path)


def test_the_delivery_log_says_until_when_a_message_waits(
    admin: Client, incident: Incident, workflow: Workflow
) -> None:
    for _ in range(6):
        fail(make_workflow(workflow.environment), 3)
        settle()
    log = page(admin, f"{INBOX}deliveries/?state=pending")
    assert re.search(r"Waits until [\w :]+: this address got many messages\.", log)
    assert "Waits until" not in page(admin, f"{INBOX}deliveries/?state=sent")


def test_an_incident_says_what_is_not_told_yet(
    admin: Client, incident: Incident, workflow: Workflow
) -> None:
    assert "not told yet" not in page(admin, f"{INBOX}{incident.pk}/")
    fail(workflow)
    settle()
    assert "not told yet: the repeat interval holds until" in page(admin, f"{INBOX}{incident.pk}/")
    admin.post(f"{INBOX}act/", {"act": "acknowledge", "id": incident.pk})
    assert "It is not repeated: person-" in page(admin, f"{INBOX}{incident.pk}/")


def test_viewers_do_not_see_whom_an_incident_was_told_to(
    admin: Client, incident: Incident, tenant: Tenant
) -> None:
    path = f"{INBOX}{incident.pk}/"
    assert "ops@example.com" in page(admin, path)
    assert "ops@example.com" in page(signed_in_as(make_member(tenant, Role.OPERATOR)), path)
    text = page(signed_in_as(make_member(tenant)), path)
    assert "Who was told" not in text
    assert "ops@example.com" not in text


def test_an_incident_says_why_nobody_is_told(admin: Client, workflow: Workflow) -> None:
    fail(workflow, 3)
    settle()
    with tenant_scope(workflow.tenant):
        pk = Incident.objects.get().pk
    assert "Nobody is told. No mail address and no webhook is set." in page(admin, f"{INBOX}{pk}/")
    assert "not told" in page(admin, INBOX)


def test_the_list_of_a_summary_holds_exactly_its_incidents(
    admin: Client, incident: Incident, workflow: Workflow
) -> None:
    fail(make_workflow(workflow.environment, name="Apart"), 3)
    settle()
    with tenant_scope(incident.tenant):
        told = Notification.objects.get(incident=incident)
        summary = Notification.objects.create(
            tenant=incident.tenant, kind="summary", content={}, created_at=told.created_at
        )
        Notification.objects.filter(pk=told.pk).update(summary=summary)
    text = page(admin, f"{INBOX}?summary={summary.pk}")
    assert incident.title in text
    assert "Apart" not in text


def test_the_overview_and_the_workflow_show_open_incidents(
    admin: Client, incident: Incident, workflow: Workflow
) -> None:
    assert "Open incidents" in page(admin, "/t/alerts/")
    assert incident.title in page(admin, f"/t/alerts/workflows/{workflow.pk}/?tab=alerts")


def test_what_fails_now_comes_before_what_a_scan_found(
    admin: Client, incident: Incident, workflow: Workflow
) -> None:
    """Found by a new user: twenty findings of one scan stood above the only outage."""
    others = [make_workflow(workflow.environment, name=f"Flow {n}") for n in range(6)]
    finish_scan(incident.tenant, *[(each, 1, 30.0) for each in others])
    shown = page(admin, INBOX)
    assert shown.index(incident.title) < shown.index("From scans") < shown.index("Flow 0:")
    overview = page(admin, "/t/alerts/").split("Open incidents")[1]
    assert incident.title in overview
    assert "6 from scans" in overview
    assert "From scans" not in page(admin, f"{INBOX}?rule=failures")


# --- settings -------------------------------------------------------------------------------------

FORM: dict[str, Any] = {
    "enabled": "on",
    "failure_threshold": "4",
    "time_window_hours": "12",
    "repeat_minutes": "30",
    "alert_on_critical": "on",
    "alert_on_info": "on",
    "emails": "a@example.com,\nb@example.com",
    "webhook_url": "",
    **{f"severity-{each.slug}": "2" for each in ErrorClass},
    "severity-payment": "3",
    "severity-auth": "3",
}


def test_settings_are_saved_from_the_page(admin: Client, tenant: Tenant) -> None:
    assert admin.post(f"{INBOX}settings/", FORM).status_code == 302
    with tenant_scope(tenant):
        stored = AlertSettings.objects.get()
        override = SeverityOverride.objects.get()
    assert (stored.failure_threshold, stored.time_window_hours, stored.repeat_minutes) == (
        4,
        12,
        30,
    )
    assert (stored.alert_on_critical, stored.alert_on_warning, stored.alert_on_info) == (
        True,
        False,
        True,
    )
    assert stored.emails == ["a@example.com", "b@example.com"]
    assert (override.error_class, override.severity) == (ErrorClass.TIMEOUT, Severity.WARNING)
    text = page(admin, f"{INBOX}settings/")
    assert "a@example.com\nb@example.com" in text


def as_shown(client: Client, path: str) -> dict[str, str]:
    """What a browser sends of a page's form when nothing is changed in it."""
    text = page(client, path).split("data-form", 1)[1].split("</form>", 1)[0]
    sent: dict[str, str] = {}
    for tag in re.findall(r"<input[^>]*>", text):
        named, value = re.search(r'name="([^"]+)"', tag), re.search(r'value="([^"]*)"', tag)
        if named and ('type="checkbox"' not in tag or " checked" in tag):
            usual = "on" if 'type="checkbox"' in tag else ""
            sent[named[1]] = html.unescape(value[1]) if value else usual
    for name, inner in re.findall(r'<select name="([^"]+)".*?>(.*?)</select>', text, re.S):
        chosen = re.search(r'value="([^"]*)" selected', inner)
        sent[name] = chosen[1] if chosen else ""
    for name, inner in re.findall(r'<textarea name="([^"]+)"[^>]*>(.*?)</textarea>', text, re.S):
        sent[name] = html.unescape(inner).removeprefix("\n")
    return sent


def test_two_who_save_at_once_change_what_each_has_typed(
    admin: Client, tenant: Tenant, workflow: Workflow
) -> None:
    make_settings(tenant, "a@example.com", "b@example.com")
    other = signed_in_as(make_member(tenant, Role.ADMIN))
    mine, theirs = (as_shown(each, f"{INBOX}settings/") for each in (admin, other))
    admin.post(f"{INBOX}settings/", mine | {"failure_threshold": "9", "severity-timeout": "3"})
    del theirs["alert_on_warning"]
    other.post(f"{INBOX}settings/", theirs | {"emails": "c@example.com", "severity-auth": "1"})
    with tenant_scope(tenant):
        stored = AlertSettings.objects.get()
        severities = dict(SeverityOverride.objects.values_list("error_class", "severity"))
    assert (stored.failure_threshold, stored.emails) == (9, ["c@example.com"])
    assert (stored.enabled, stored.alert_on_warning, stored.alert_on_info) == (True, False, False)
    assert severities == {ErrorClass.TIMEOUT: 3, ErrorClass.AUTH: 1}

    path = f"{INBOX}settings/workflows/{workflow.pk}/"
    mine, theirs = (as_shown(each, path) for each in (admin, other))
    admin.post(path, mine | {"enabled": "off"})
    other.post(path, theirs | {"emails": "own@example.com"})
    with tenant_scope(tenant):
        own = WorkflowPreference.objects.get()
    assert (own.enabled, own.failure_threshold, own.emails) == (False, None, ["own@example.com"])


@pytest.mark.parametrize("act", ["acknowledge", "settings", "workflow", "link", "send", "secret"])
def test_what_can_not_be_audited_is_not_done(
    admin: Client, incident: Incident, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    with tenant_scope(incident.tenant):
        AlertSettings.objects.update(webhook_url="https://example.com/", webhook_secret="before")
        message = Notification.objects.get()
    link = link_in(str(mail.outbox[0].body))
    path, data = {
        "acknowledge": (f"{INBOX}act/", {"act": "acknowledge", "id": incident.pk}),
        "settings": (f"{INBOX}settings/", FORM),
        "workflow": (f"{INBOX}settings/workflows/{incident.workflow_id}/", {"enabled": "off"}),
        "link": (link, {}),
        "send": (f"{INBOX}deliveries/{message.pk}/send/", {}),
        "secret": (f"{INBOX}settings/secret/", {}),
    }[act]
    monkeypatch.setattr(audit, "record", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        admin.post(path, data)
    with tenant_scope(incident.tenant):
        stored = AlertSettings.objects.get()
        assert (stored.failure_threshold, stored.webhook_secret) == (3, "before")
        assert not SeverityOverride.objects.exists()
        assert not WorkflowPreference.objects.exists()
        assert Notification.objects.get().state == "sent"
    assert again(incident).status == "open"


def test_what_is_wrong_is_said_at_its_field_and_nothing_typed_is_lost(
    admin: Client, tenant: Tenant
) -> None:
    wrong = {
        **FORM,
        "emails": "nobody",
        "webhook_url": "http://127.0.0.1/x",
        "failure_threshold": "0",
    }
    answer = admin.post(f"{INBOX}settings/", wrong)
    assert answer.status_code == 422
    text = answer.content.decode()
    assert "“nobody” is no mail address." in text
    assert "127.0.0.1 is not a public address" in text
    assert "http://127.0.0.1/x" in text
    with tenant_scope(tenant):
        assert not AlertSettings.objects.exists()


def test_the_webhooks_secret_is_shown_once(admin: Client, tenant: Tenant) -> None:
    shown = admin.post(f"{INBOX}settings/", {**FORM, "webhook_url": "https://example.com/h"})
    with tenant_scope(tenant):
        secret = AlertSettings.objects.get().webhook_secret
    assert secret in shown.content.decode()
    assert secret not in page(admin, f"{INBOX}settings/")
    renewed = admin.post(f"{INBOX}settings/secret/").content.decode()
    with tenant_scope(tenant):
        assert AlertSettings.objects.get().webhook_secret in renewed
    assert secret not in renewed


def test_the_secret_is_known_before_the_first_message(admin: Client, tenant: Tenant) -> None:
    """Found by a new user: the first message came before the receiver could know the secret."""
    sent = as_shown(admin, f"{INBOX}settings/")
    proposed = sent["proposed_secret"]
    refused = admin.post(f"{INBOX}settings/", sent | {"failure_threshold": "0"})
    assert proposed in refused.content.decode(), "the same until it is saved"
    saved = admin.post(f"{INBOX}settings/", sent | {"webhook_url": "https://example.com/h"})
    assert proposed in saved.content.decode()
    with tenant_scope(tenant):
        assert AlertSettings.objects.get().webhook_secret == proposed
    assert "proposed_secret" not in page(admin, f"{INBOX}settings/")
    admin.post(f"{INBOX}settings/", sent | {"proposed_secret": new_secret()})
    with tenant_scope(tenant):
        assert AlertSettings.objects.get().webhook_secret == proposed, "only the first one"


@pytest.mark.parametrize("said", ["", "whsec_", "whsec_YWJj", "x" * 44, "whsec_" + "é" * 44])
def test_a_proposed_secret_that_is_none_of_ours_is_not_taken(
    admin: Client, tenant: Tenant, said: str
) -> None:
    data = FORM | {"webhook_url": "https://example.com/h", "proposed_secret": said}
    admin.post(f"{INBOX}settings/", data)
    with tenant_scope(tenant):
        made = AlertSettings.objects.get().webhook_secret
    assert is_secret(made)
    assert made != said


def test_the_preview_counts_from_the_real_history(
    admin: Client, incident: Incident, workflow: Workflow
) -> None:
    assert "told <b>1 time</b> last week" in page(admin, f"{INBOX}settings/")
    query = (
        "enabled=on&failure_threshold=4&time_window_hours=24&repeat_minutes=60&alert_on_warning=on"
    )
    assert "told <b>0 times</b> last week" in page(admin, f"{INBOX}settings/preview/?{query}")
    assert "told <b>1 time</b>" in page(
        admin, f"{INBOX}settings/preview/?{query.replace('=4', '=2')}"
    )
    assert "told <b>0 times</b>" in page(
        admin,
        f"{INBOX}settings/preview/?{query.replace('=4', '=2').replace('&alert_on_warning=on', '')}",
    )
    assert page(admin, f"{INBOX}settings/preview/?failure_threshold=x")
    with tenant_scope(incident.tenant):
        assert AlertSettings.objects.get().failure_threshold == 3


def test_the_settings_say_what_nobody_is_told(admin: Client, workflow: Workflow) -> None:
    make_settings(workflow.tenant, "ops@example.com")
    fail(workflow, 3, "Connection timed out after 30000 ms")
    settle()
    text = page(admin, f"{INBOX}settings/")
    assert "fail only by: <b>timeout</b> (info)." in text
    why = "nobody would have been told, about 1 workflow, because “Info” is not ticked."
    assert f"<b>1 time</b> {why}" in text
    query = "enabled=on&failure_threshold=3&time_window_hours=24&repeat_minutes=60"
    told = page(admin, f"{INBOX}settings/preview/?{query}&alert_on_info=on")
    assert "told <b>1 time</b>" in told
    assert "nobody would have been told" not in told
    off = page(admin, f"{INBOX}settings/preview/?{query.replace('enabled=on', '')}")
    assert "because alerts are off." in off


def test_the_test_button_shows_each_result(admin: Client, tenant: Tenant) -> None:
    make_settings(tenant, "a@example.com")
    text = admin.post(f"{INBOX}settings/test/").content.decode()
    assert "Mail a@example.com" in text
    assert len(mail.outbox) == 1


def test_without_a_mail_server_the_page_says_what_is_missing(
    admin: Client, settings: Settings
) -> None:
    settings.MAIL_CONFIGURED = False
    assert "has not set SMTP_HOST" in page(admin, f"{INBOX}settings/")


def test_a_workflows_preferences_are_set_on_its_tab_and_taken_away_again(
    admin: Client, workflow: Workflow
) -> None:
    path = f"{INBOX}settings/workflows/{workflow.pk}/"
    data = {"enabled": "off", "failure_threshold": "7", "emails": "own@example.com"}
    assert admin.post(path, data)["Location"].endswith("?tab=alerts")
    with tenant_scope(workflow.tenant):
        own = WorkflowPreference.objects.get()
    assert (own.enabled, own.failure_threshold, own.emails) == (False, 7, ["own@example.com"])
    assert "own@example.com" in page(admin, f"/t/alerts/workflows/{workflow.pk}/?tab=alerts")
    assert "own@example.com" in page(admin, f"{INBOX}settings/")
    admin.post(path, {"enabled": "", "failure_threshold": "", "emails": ""})
    with tenant_scope(workflow.tenant):
        assert not WorkflowPreference.objects.exists()
    assert admin.post(path, {"failure_threshold": "-1"}).status_code == 422


# --- deliveries -----------------------------------------------------------------------------------


def test_the_delivery_log_shows_tries_and_sends_again(admin: Client, incident: Incident) -> None:
    text = page(admin, f"{INBOX}deliveries/?state=sent&channel=email")
    assert "Taken by the mail server." in text
    assert "No message matches" in page(admin, f"{INBOX}deliveries/?state=failed")
    with tenant_scope(incident.tenant):
        pk = Notification.objects.get().pk
    admin.post(f"{INBOX}deliveries/{pk}/send/")
    settle()
    ids = {each.extra_headers["Message-ID"] for each in mail.outbox}
    assert (len(mail.outbox), len(ids)) == (2, 1)
    assert admin.post(f"{INBOX}deliveries/999/send/").status_code == 404


# --- the link in a mail ---------------------------------------------------------------------------


def link_in(text: str) -> str:
    found = re.search(r"http://[^/\s]+(/alerts/acknowledge/\S+/)", text)
    assert found
    return found[1]


def test_opening_the_link_changes_nothing_and_its_button_acknowledges(incident: Incident) -> None:
    link, stranger = link_in(str(mail.outbox[0].body)), Client()
    for _ in range(3):
        assert "Acknowledge" in page(stranger, link)
    assert again(incident).status == "open"
    assert "it is acknowledged" in stranger.post(link).content.decode()
    assert again(incident).acknowledged_by == "ops@example.com"
    assert "acknowledged by ops@example.com already" in page(stranger, link)
    with tenant_scope(incident.tenant):
        assert AuditEvent.objects.get().actor_label == "link to ops@example.com"


def test_a_link_that_was_changed_or_is_too_old_does_nothing(
    incident: Incident, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = link_in(str(mail.outbox[0].body))
    broken = link[:-5] + "AAAA/"
    assert Client().post(broken).status_code == 410
    monkeypatch.setattr(links, "HOLDS_SECONDS", -1)
    assert Client().post(link).status_code == 410
    assert again(incident).status == "open"


def test_the_link_needs_the_csrf_token_of_its_page(incident: Incident) -> None:
    link = link_in(str(mail.outbox[0].body))
    assert Client(enforce_csrf_checks=True).post(link).status_code == 403
    assert again(incident).status == "open"


def test_a_suspended_tenants_link_is_void(incident: Incident) -> None:
    Tenant.objects.update(suspended_at=incident.opened_at)
    assert Client().get(link_in(str(mail.outbox[0].body))).status_code == 410


@pytest.mark.parametrize("taken_out", ["settings", "preference"])
def test_the_link_ends_when_the_address_is_told_no_more(
    incident: Incident, workflow: Workflow, taken_out: str
) -> None:
    link, stranger = link_in(str(mail.outbox[0].body)), Client()
    assert stranger.get(link).status_code == 200
    with tenant_scope(incident.tenant):
        if taken_out == "settings":
            AlertSettings.objects.update(emails=["other@example.com"])
        else:
            WorkflowPreference.objects.create(
                tenant=incident.tenant, workflow=workflow, emails=["own@example.com"]
            )
    assert stranger.get(link).status_code == 410
    assert stranger.post(link).status_code == 410
    assert again(incident).status == "open"


def test_nothing_is_sent_again_to_an_address_that_was_taken_out(
    admin: Client, incident: Incident
) -> None:
    with tenant_scope(incident.tenant):
        AlertSettings.objects.update(emails=["other@example.com"])
        pk = Notification.objects.get().pk
    answer = admin.post(f"{INBOX}deliveries/{pk}/send/", follow=True)
    assert "the settings name this address no more" in answer.content.decode()
    settle()
    assert len(mail.outbox) == 1
