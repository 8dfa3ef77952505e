from django.apps import AppConfig


class PeersConfig(AppConfig):
    name = "pvc_web.peers"
    label = "peers"
