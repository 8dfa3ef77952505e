"""Users with one role each, and their tokens."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.validators import ASCIIUsernameValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from pvc_core.model.task import Role

ROLES = [(role.value, role.name.capitalize()) for role in Role]
TOKEN_PREFIX = "pvc"
USE_RESOLUTION = timedelta(minutes=1)  # how exactly the last use of a token is kept


class UserManager(BaseUserManager["User"]):
    def create_user(self, username: str, password: str | None = None, role: Role = Role.VIEWER) -> User:
        """Without a password, the user can act through tokens only."""
        user = self.model(username=username, role=role)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, username: str, password: str | None = None) -> User:
        return self.create_user(username, password, Role.ADMINISTRATOR)


class User(AbstractBaseUser):
    """A person or a program. The role decides everything; there are no permissions of single users."""

    username = models.CharField(max_length=64, unique=True, validators=[ASCIIUsernameValidator()])
    role = models.PositiveSmallIntegerField(choices=ROLES, default=Role.VIEWER.value)
    is_active = models.BooleanField(
        "active", default=True, help_text="Users who left are made inactive rather than deleted: their tasks name them."
    )
    created = models.DateTimeField(default=timezone.now, editable=False)

    objects = UserManager()

    USERNAME_FIELD = "username"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        ordering = ("username",)

    def may(self, role: Role) -> bool:
        """Whether this user has the rights of ``role``."""
        return self.is_active and self.role >= role

    @property
    def is_staff(self) -> bool:
        """Whether the admin's pages open: they change users, which is an administrator's right."""
        return self.may(Role.ADMINISTRATOR)

    def has_perm(self, perm: str, obj: Any = None) -> bool:  # noqa: ARG002
        return self.is_staff

    def has_module_perms(self, app_label: str) -> bool:  # noqa: ARG002
        return self.is_staff


@dataclass(frozen=True)
class TokenText:
    """A token as its owner writes it: ``pvc_<id>_<secret>``."""

    identifier: str
    secret: str

    @staticmethod
    def fresh() -> TokenText:
        return TokenText(secrets.token_hex(6), secrets.token_urlsafe(32))

    @staticmethod
    def parse(text: str) -> TokenText | None:
        """None when it does not have the form of a token."""
        prefix, _, rest = text.partition("_")
        identifier, _, secret = rest.partition("_")
        well_formed = prefix == TOKEN_PREFIX and identifier.isascii() and identifier.isalnum() and secret
        return TokenText(identifier, secret) if well_formed else None

    @property
    def hash(self) -> str:
        # One round suffices: the secret has 256 random bits, so there is no guessing it from the hash.
        return hashlib.sha256(self.secret.encode()).hexdigest()

    def __str__(self) -> str:
        return f"{TOKEN_PREFIX}_{self.identifier}_{self.secret}"

    def __repr__(self) -> str:
        return f"<token {self.identifier}>"


class TokenQuerySet(models.QuerySet["Token"]):
    def valid(self) -> TokenQuerySet:
        """Those that open a door now."""
        unexpired = Q(expires=None) | Q(expires__gt=timezone.now())
        return self.filter(unexpired, revoked=None, user__is_active=True)

    def verify(self, text: str) -> Token | None:
        """The valid token with exactly this text, None for anything else."""
        parsed = TokenText.parse(text)
        if parsed is None:
            return None
        token = self.valid().select_related("user").filter(identifier=parsed.identifier).first()
        if token is None or not hmac.compare_digest(token.hash, parsed.hash):
            return None
        token.touch()
        return token

    def issue(
        self, user: User, name: str, *, text: TokenText | None = None, expires: datetime | None = None
    ) -> tuple[Token, TokenText]:
        """Make a token. Its text exists in the answer only."""
        text = text or TokenText.fresh()
        token = self.create(user=user, name=name, identifier=text.identifier, hash=text.hash, expires=expires)
        return token, text


class Token(models.Model):
    """A key with which a program acts for a user, with that user's role."""

    user = models.ForeignKey(User, models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=64, help_text="What it is for, such as the program that uses it.")
    identifier = models.CharField(max_length=32, unique=True, editable=False)
    hash = models.CharField(max_length=64, editable=False)
    created = models.DateTimeField(default=timezone.now, editable=False)
    expires = models.DateTimeField(null=True, blank=True, help_text="Empty: it does not expire.")
    revoked = models.DateTimeField(null=True, blank=True, editable=False)
    last_used = models.DateTimeField(null=True, blank=True, editable=False)

    objects = TokenQuerySet.as_manager()

    class Meta:
        ordering = ("-created",)

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"

    def touch(self) -> None:
        """Note that it was used, at most once a minute."""
        now = timezone.now()
        if self.last_used is None or now - self.last_used > USE_RESOLUTION:
            Token.objects.filter(pk=self.pk).update(last_used=now)

    def revoke(self) -> None:
        """For good; a second call changes nothing."""
        Token.objects.filter(pk=self.pk, revoked=None).update(revoked=timezone.now())
