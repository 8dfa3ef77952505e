from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "pvc_web.accounts"
    label = "accounts"
