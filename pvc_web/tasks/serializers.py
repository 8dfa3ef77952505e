"""Arguments of the calls about tasks."""

from __future__ import annotations

from rest_framework import serializers

from pvc_web.api.parameters import Parameters
from pvc_web.tasks.models import CELERY_NAMES

LONGEST_WAIT = 30  # seconds


class TaskListParameters(Parameters):
    limit = serializers.IntegerField(min_value=0, max_value=1000, default=50, help_text="The most tasks to answer with")
    offset = serializers.IntegerField(min_value=0, default=0, help_text="Newer tasks to leave out")
    state = serializers.ChoiceField(
        choices=[(name, state.value) for state, name in CELERY_NAMES.items()],
        default=None,
        help_text="Only tasks in this state",
    )


class TaskParameters(Parameters):
    wait = serializers.FloatField(
        min_value=0,
        max_value=LONGEST_WAIT,
        default=0,
        help_text="Answer at the task's next change, or after this many seconds",
    )
