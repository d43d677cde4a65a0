from scheduling.models.scan import Finding, Scan, ScannedWorkflow
from scheduling.models.schedule import Schedule, Scope

__all__ = ["Finding", "Scan", "ScannedWorkflow", "Schedule", "Scope"]
