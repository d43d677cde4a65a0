from scheduling.models.carrier import Cluster, Delivery, Leader, Wake
from scheduling.models.removal import Removal
from scheduling.models.scan import Finding, Scan, ScannedWorkflow
from scheduling.models.schedule import Schedule, Scope

__all__ = [
    "Cluster",
    "Delivery",
    "Finding",
    "Leader",
    "Removal",
    "Scan",
    "ScannedWorkflow",
    "Schedule",
    "Scope",
    "Wake",
]
