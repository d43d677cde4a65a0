from alerts.models.check import Check, ScanNews
from alerts.models.delivery import Attempt, Notification, Target
from alerts.models.incident import Incident, IncidentEvent
from alerts.models.settings import AlertSettings, SeverityOverride, WorkflowPreference

__all__ = [
    "AlertSettings",
    "Attempt",
    "Check",
    "Incident",
    "IncidentEvent",
    "Notification",
    "ScanNews",
    "SeverityOverride",
    "Target",
    "WorkflowPreference",
]
