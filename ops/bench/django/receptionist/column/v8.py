from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("receptionist", "v7")]
    operations = [migrations.RunSQL("alter table memories add column bench text")]
