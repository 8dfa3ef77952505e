"""Arguments of the calls about accounts."""

from rest_framework import serializers

from pvc_web.api.parameters import Parameters


class LoginParameters(Parameters):
    token = serializers.CharField(default="", help_text="An API key")
