from django.db import migrations, models
from django.db.models.fields.json import KeyTextTransform


class Migration(migrations.Migration):
    dependencies = [
        ("tasks", "0003_unsent"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="task",
            index=models.Index(condition=models.Q(("state", "failed")), fields=["-ended"], name="tasks_failed"),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                KeyTextTransform("vm", "arguments"),
                KeyTextTransform("schedule", "arguments"),
                models.OrderBy(models.F("ended"), descending=True),
                condition=models.Q(("operation", "vm.autobackup.write"), ("state", "succeeded")),
                name="tasks_backups",
            ),
        ),
    ]
