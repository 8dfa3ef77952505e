from django.apps import AppConfig


class StorageConfig(AppConfig):
    name = "pvc_web.storage"
    label = "storage"
