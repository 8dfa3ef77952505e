from django.apps import AppConfig


class SchedulesConfig(AppConfig):
    name = "pvc_web.schedules"
    label = "schedules"
