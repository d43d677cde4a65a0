"""What a tenant's settings mean for one workflow: who is told of what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from alerts.channels.registry import channels
from alerts.models import AlertSettings, Target, WorkflowPreference
from monitoring.words import Severity
from tenants.models import Tenant
from tenants.scoping import current_tenant

Address: TypeAlias = tuple[str, str]
"""Slug of a channel, and whom it reaches."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Settings with a workflow's preferences laid over them; `off` is what is switched off."""

    tenant: Tenant
    settings: AlertSettings
    preference: WorkflowPreference | None = None
    off: frozenset[Address] = frozenset()

    @property
    def threshold(self) -> int:
        own = self.preference and self.preference.failure_threshold
        return own or self.settings.failure_threshold

    @property
    def emails(self) -> list[str]:
        """Mail addresses that are told: the workflow's own instead of the tenant's."""
        own = self.preference.emails if self.preference else []
        return own or self.settings.emails

    def silence(self, severity: Severity) -> str:
        """Why nobody is told of a problem; "" when somebody is."""
        if self.preference is not None and self.preference.enabled is False:
            return "Alerts of this workflow are switched off."
        if not self.settings.enabled and not (self.preference and self.preference.enabled):
            return "Alerts are switched off."
        if not self.settings.tells(severity):
            return f"Alerts of severity {severity.slug} are switched off."
        if self.addresses:
            return ""
        if self.named:
            return "The webhook is switched off, because it failed for days."
        return "No mail address and no webhook is set."

    @property
    def addresses(self) -> list[Address]:
        """Everybody who is told."""
        return [each for each in self.named if each not in self.off]

    @property
    def named(self) -> list[Address]:
        """Everybody whom the settings name."""
        return [
            (slug, address)
            for slug, channel in channels().items()
            for address in dict.fromkeys(channel.addresses(self))
        ]


def switched_off() -> frozenset[Address]:
    """What gets nothing of the active scope's tenant, because it failed for too long."""
    found = Target.objects.exclude(switched_off_at=None)
    return frozenset(found.values_list("channel", "address"))


def settings_of(tenant: Tenant) -> AlertSettings:
    """The tenant's settings; unsaved defaults when it has none."""
    found = AlertSettings.objects.filter(tenant=tenant).first()
    return found or AlertSettings(tenant=tenant)


def policies_for(workflow_ids: Iterable[int]) -> dict[int, Policy]:
    """The policies of workflows of the active scope's tenant, by their ids."""
    tenant = current_tenant()
    settings = settings_of(tenant)
    ids = list(workflow_ids)
    preferences = WorkflowPreference.objects.filter(workflow_id__in=ids)
    own = {preference.workflow_id: preference for preference in preferences}
    off = switched_off()
    return {pk: Policy(tenant, settings, own.get(pk), off) for pk in ids}


def everybody_named() -> set[Address]:
    """Whom the settings of the active scope's tenant name, or the preferences of any workflow."""
    named = set(policy_for().named)
    for emails in WorkflowPreference.objects.values_list("emails", flat=True):
        named |= {("email", address) for address in emails}
    return named


def policy_for(workflow_id: int | None = None) -> Policy:
    """The policy of a workflow, or (None) of the tenant of the active scope."""
    tenant = current_tenant()
    preference = None
    if workflow_id is not None:
        preference = WorkflowPreference.objects.filter(workflow_id=workflow_id).first()
    return Policy(tenant, settings_of(tenant), preference, switched_off())
