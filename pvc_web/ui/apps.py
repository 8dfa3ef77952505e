from django.apps import AppConfig


class UiConfig(AppConfig):
    name = "pvc_web.ui"
