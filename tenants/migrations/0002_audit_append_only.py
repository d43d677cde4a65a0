"""Take from the app role the right to change or remove what the audit log says."""

from django.apps.registry import Apps
from django.conf import settings
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def _run_for_app_role(schema_editor: BaseDatabaseSchemaEditor, statement: str) -> None:
    """Run `statement` with the app role's name, unless one role does everything here."""
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_roles WHERE rolname = %s AND rolname <> current_user",
            [settings.APP_ROLE],
        )
        if cursor.fetchone():
            cursor.execute(statement.format(role=connection.ops.quote_name(settings.APP_ROLE)))


def revoke(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Leave the app role INSERT and SELECT."""
    _run_for_app_role(
        schema_editor, "REVOKE UPDATE, DELETE, TRUNCATE ON tenants_auditevent FROM {role}"
    )


def grant(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Give back what `revoke` took."""
    _run_for_app_role(schema_editor, "GRANT UPDATE, DELETE ON tenants_auditevent TO {role}")


class Migration(migrations.Migration):
    """Privileges only; no table changes."""

    dependencies = [("tenants", "0001_initial")]

    operations = [migrations.RunPython(revoke, grant)]
