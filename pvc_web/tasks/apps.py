from importlib import import_module

from django.apps import AppConfig


class TasksConfig(AppConfig):
    name = "pvc_web.tasks"
    label = "tasks"

    def ready(self) -> None:
        import_module("pvc_core.ops")  # registers the operations
