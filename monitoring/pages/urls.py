"""Addresses of monitoring's pages, sorted."""

from django.urls import path

from monitoring.pages import (
    bulk,
    charts,
    connect,
    definitions,
    empty,
    environments,
    execution,
    executions,
    export,
    overview,
    palette,
    payload,
    quota,
    retention,
    views,
    workflow,
    workflows,
)

_LIST = "t/<slug:slug>/executions/"
_ONE = f"{_LIST}<uuid:execution_id>/"
_WORKFLOWS = "t/<slug:slug>/workflows/"
_WORKFLOW = f"{_WORKFLOWS}<int:workflow_id>/"
_ENVIRONMENTS = "t/<slug:slug>/settings/environments/"
_RETENTION = "t/<slug:slug>/settings/retention/"
_PYTHON = "t/<slug:slug>/settings/python/"

urlpatterns = [
    path("t/<slug:slug>/", overview.overview, name="overview"),
    path("t/<slug:slug>/chart/", charts.overview_executions, name="overview-chart"),
    path(_LIST, executions.execution_list, name="executions"),
    path(f"{_LIST}delete/", bulk.delete_chosen, name="executions-delete"),
    path(f"{_LIST}deletions/<int:job_id>/", bulk.job_page, name="bulk-job"),
    path(f"{_LIST}deletions/<int:job_id>/cancel/", bulk.cancel, name="bulk-job-cancel"),
    path(f"{_LIST}export.<str:form>", export.export, name="executions-export"),
    path(f"{_LIST}token/", empty.make_ingest_token, name="ingest-token"),
    path(f"{_LIST}views/", views.saved_views, name="views"),
    path(f"{_LIST}views/save/", views.save_view, name="view-save"),
    path(f"{_LIST}views/<int:view_id>/delete/", views.delete_view, name="view-delete"),
    path(_ONE, execution.execution_page, name="execution"),
    path(f"{_ONE}data/<str:part>/", payload.data, name="execution-data"),
    path(f"{_ONE}delete/", bulk.delete_one, name="execution-delete"),
    path("t/<slug:slug>/search/", palette.search, name="search"),
    path(_PYTHON, connect.connect_python, name="connect-python"),
    path(f"{_PYTHON}token/", connect.make_python_token, name="connect-python-token"),
    path(_ENVIRONMENTS, environments.environment_list, name="environments"),
    path(
        f"{_ENVIRONMENTS}<int:environment_id>/", environments.environment_change, name="environment"
    ),
    path("t/<slug:slug>/settings/quota/", quota.quota, name="quota"),
    path(_RETENTION, retention.retention_settings, name="retention"),
    path(f"{_RETENTION}<int:run_id>/cancel/", retention.cancel_run, name="retention-cancel"),
    path(_WORKFLOWS, workflows.workflow_list, name="workflows"),
    path(f"{_WORKFLOWS}upload/", definitions.definition_upload, name="definition-upload"),
    path(_WORKFLOW, workflow.workflow_page, name="workflow"),
    path(
        f"{_WORKFLOW}chart/durations/", charts.workflow_durations, name="workflow-chart-durations"
    ),
    path(
        f"{_WORKFLOW}chart/executions/",
        charts.workflow_executions,
        name="workflow-chart-executions",
    ),
    path(f"{_WORKFLOW}clear/", workflow.workflow_clear, name="workflow-clear"),
]
