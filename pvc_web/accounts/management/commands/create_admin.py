"""``manage.py create_admin``: the first administrator of a new cluster, with a password and a token in files."""

from __future__ import annotations

import os
import secrets
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from pvc_core.model.task import Role
from pvc_web.accounts.models import Token, TokenText, User


class Command(BaseCommand):
    help = (
        "Make an administrator, unless there is one of this name. The password and an API key are read from files, "
        "which are made with fresh random ones (for their owner's eyes only) where they are missing. Safe to run again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--username", default="admin")
        parser.add_argument("--password-file", type=Path, required=True)
        parser.add_argument("--token-file", type=Path, required=True)

    @transaction.atomic
    def handle(self, *, username: str, password_file: Path, token_file: Path, **_: Any) -> None:
        password = _secret(password_file, secrets.token_urlsafe(18))
        token = TokenText.parse(_secret(token_file, str(TokenText.fresh())))
        if token is None:
            raise CommandError(f"{token_file} does not hold an API key such as pvc_<id>_<secret>")
        user = User.objects.filter(username=username).first()
        if user is None:
            user = User.objects.create_user(username, password, Role.ADMINISTRATOR)
            self.stdout.write(f"made the administrator {username}")
        if not Token.objects.filter(identifier=token.identifier).exists():
            Token.objects.issue(user, "first administrator", text=token)
            self.stdout.write(f"made the API key in {token_file}")


def _secret(path: Path, fresh: str) -> str:
    """The content of the file, which is made with ``fresh`` in it when it is missing."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from None
    with open(descriptor, "w") as file:  # noqa: PTH123  (a descriptor, not a path)
        file.write(fresh + "\n")
    return fresh
