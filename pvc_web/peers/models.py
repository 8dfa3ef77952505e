"""Other clusters, and the tokens with which they let us in."""

from __future__ import annotations

from django.db import models


class Peer(models.Model):
    """Another cluster. The token is kept as it is, since it has to be shown to the other side; nothing here ever shows
    it again."""

    name = models.CharField(max_length=100, unique=True)
    api_uri = models.CharField("API URI", max_length=255, help_text="Such as https://west.example.com:7370/api/v1")
    token = models.CharField(max_length=255, editable=False)
    verify_ssl = models.BooleanField(
        "verify certificate", default=True, help_text="Without it, whoever stands between can read the token."
    )
    pool = models.CharField(
        max_length=100, blank=True, help_text="Where copies of our machines go there. Empty: pools of the same names."
    )
    bandwidth = models.PositiveBigIntegerField(default=0, help_text="The most bytes a second; 0: no limit.")

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name
