"""What `tests.faults.models` describes; pytest's databases get the same for a module at a time."""

from django.db import migrations

from tests.faults.models import DROP_TABLES, TABLES


class Migration(migrations.Migration):
    """Made by the owner, so the application may use them."""

    initial = True
    dependencies = []
    operations = [migrations.RunSQL(TABLES, DROP_TABLES)]
