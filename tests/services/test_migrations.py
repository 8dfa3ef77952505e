"""The models and the migrations say the same."""

from __future__ import annotations

from django.core.management import call_command

from lab.local import LocalServices


def test_no_model_lacks_a_migration(services: LocalServices) -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=3)
