from scheduling.models.carrier import Cluster, Delivery, Leader, Wake
from scheduling.models.scan import Finding, Scan, ScannedWorkflow
from scheduling.models.schedule import Schedule, Scope

__all__ = [
    "Cluster",
    "Delivery",
    "Finding",
    "Leader",
    "Scan",
    "ScannedWorkflow",
    "Schedule",
    "Scope",
    "Wake",
]
