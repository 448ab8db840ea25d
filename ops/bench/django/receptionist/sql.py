"""One Django migration for each file in tenant-migrations/."""

import pathlib

from django.db import migrations

FOLDER = pathlib.Path(__file__).resolve().parents[4] / "tenant-migrations"


def migration(version):
    """The class that Django looks for."""
    (file,) = FOLDER.glob(f"V{version}__*.sql")
    sql = file.read_text()

    def forwards(_apps, editor):
        with editor.connection.cursor() as cursor:
            cursor.execute(sql)

    class Migration(migrations.Migration):
        dependencies = [("receptionist", f"v{version - 1}")] if version > 1 else []
        operations = [migrations.RunPython(forwards, migrations.RunPython.noop)]

    return Migration
