"""Tokens, sessions, roles and the first administrator."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from pvc_core.model.task import Role
from pvc_core.state.cluster import ClusterState
from pvc_web.accounts.authentication import REFUSAL
from pvc_web.accounts.models import Token, User

Users = Callable[[Role], User]
PROTECTED = "/api/v1/tasks"
PASSWORD = "correct horse battery staple"


@pytest.fixture
def client(cluster: ClusterState) -> APIClient:
    return APIClient()


def shows(client: APIClient, text: str) -> int:
    answer = client.get(PROTECTED, HTTP_X_API_KEY=text)
    if answer.status_code != 200:
        assert answer.json() == {"message": REFUSAL, "code": "unauthorized"}
        assert answer["WWW-Authenticate"] == "X-Api-Key"
    return int(answer.status_code)


def test_a_token_opens_the_api_with_its_users_role(client: APIClient, user: Users) -> None:
    token, text = Token.objects.issue(user(Role.VIEWER), "monitoring")
    assert shows(client, str(text)) == 200
    assert client.delete(f"{PROTECTED}/x", HTTP_X_API_KEY=str(text)).status_code == 403
    assert client.get(PROTECTED).status_code == 401
    assert text.secret not in token.hash


def test_anything_but_the_whole_token_is_refused(client: APIClient, user: Users) -> None:
    _, text = Token.objects.issue(user(Role.ADMINISTRATOR), "first")
    _, other = Token.objects.issue(user(Role.VIEWER), "second")
    whole = str(text)
    wrong = [
        "",
        " ",
        "pvc",
        "pvc_",
        "pvc__",
        whole[:-1],
        whole[1:],
        f"{whole}x",
        whole.upper(),
        f"pvc_{text.identifier}",
        f"pvc_{text.identifier}_",
        f"pvc_{text.identifier}_{text.hash}",
        f"pvc_{text.identifier}_{other.secret}",
        f"pvc__{text.secret}",
        f"pvc_%_{text.secret}",
        f"pvc_\u00e9_{text.secret}",
        text.secret,
        text.identifier,
    ]
    assert {form: shows(client, form) for form in wrong} == dict.fromkeys(wrong, 401)
    assert shows(client, whole) == 200


def test_expired_and_revoked_tokens_and_those_of_inactive_users_are_refused(client: APIClient, user: Users) -> None:
    now = timezone.now()
    expired = Token.objects.issue(user(Role.VIEWER), "expired", expires=now - timedelta(seconds=1))[1]
    lasting, text = Token.objects.issue(user(Role.VIEWER), "lasting", expires=now + timedelta(hours=1))
    assert shows(client, str(expired)) == 401
    assert shows(client, str(text)) == 200
    User.objects.update(is_active=False)
    assert shows(client, str(text)) == 401
    User.objects.update(is_active=True)
    lasting.revoke()
    assert shows(client, str(text)) == 401


def test_a_wrong_token_is_refused_even_within_a_session(client: APIClient, user: Users) -> None:
    client.force_login(user(Role.ADMINISTRATOR))
    assert client.get(PROTECTED).status_code == 200
    assert shows(client, "") == 401
    assert shows(client, "pvc_0_0") == 401


def test_the_last_use_is_noted_once_a_minute(client: APIClient, user: Users) -> None:
    _, text = Token.objects.issue(user(Role.VIEWER), "monitoring")
    shows(client, str(text))
    first = Token.objects.get().last_used
    assert first is not None
    shows(client, str(text))
    assert Token.objects.get().last_used == first
    Token.objects.update(last_used=first - timedelta(minutes=2))
    shows(client, str(text))
    assert Token.objects.get().last_used > first


def test_a_token_opens_a_session_that_ends_with_it(client: APIClient, user: Users) -> None:
    token, text = Token.objects.issue(user(Role.OPERATOR), "browser")
    answer = client.post(f"/api/v1/login?token={text}")
    assert (answer.status_code, answer.json()) == (200, {"message": "logged in as operator"})
    cookie = answer.cookies["sessionid"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    assert client.get(PROTECTED).status_code == 200
    token.revoke()
    assert client.get(PROTECTED).status_code == 401


def test_a_session_is_closed_by_logout(client: APIClient, user: Users) -> None:
    _, text = Token.objects.issue(user(Role.OPERATOR), "browser")
    client.post("/api/v1/login", {"token": str(text)})
    assert client.post("/api/v1/logout").json() == {"message": "logged out"}
    assert client.get(PROTECTED).status_code == 401


@pytest.mark.parametrize("token", ["", "pvc", "pvc_0_0"])
def test_login_refuses_what_is_no_token(client: APIClient, user: Users, token: str) -> None:
    Token.objects.issue(user(Role.OPERATOR), "browser")
    answer = client.post(f"/api/v1/login?token={token}")
    assert (answer.status_code, answer.json()) == (401, {"message": REFUSAL, "code": "unauthorized"})
    assert client.get(PROTECTED).status_code == 401


def test_a_session_alone_does_not_write_without_the_csrf_token(user: Users, cluster: ClusterState) -> None:
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(user(Role.ADMINISTRATOR))
    assert client.delete(f"{PROTECTED}/x").status_code == 403


def test_the_first_administrator_is_made_once(database: None, tmp_path: Path, client: APIClient) -> None:
    password, token = tmp_path / "password", tmp_path / "token"
    for _ in range(2):
        call_command("create_admin", username="root", password_file=password, token_file=token, verbosity=0)
    assert [stat.S_IMODE(file.stat().st_mode) for file in (password, token)] == [0o600, 0o600]
    made = User.objects.get()
    assert (made.username, made.role) == ("root", Role.ADMINISTRATOR)
    assert made.check_password(password.read_text().strip())
    assert Token.objects.count() == 1
    assert shows(client, token.read_text().strip()) == 200


def test_a_token_file_with_something_else_is_refused(database: None, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("hello")
    with pytest.raises(CommandError, match="does not hold an API key"):
        call_command("create_admin", password_file=tmp_path / "password", token_file=token)
    assert not User.objects.exists()


def test_only_administrators_see_the_admin(user: Users) -> None:
    browser = Client()
    browser.force_login(user(Role.OPERATOR))
    assert browser.get("/admin/").status_code == 302
    browser.force_login(user(Role.ADMINISTRATOR))
    for page in ("", "accounts/user/", "accounts/token/", "tasks/task/", "tasks/audit/", "accounts/user/add/"):
        assert browser.get(f"/admin/{page}").status_code == 200, page


def test_the_admin_shows_a_new_token_once(user: Users) -> None:
    browser = Client()
    browser.force_login(user(Role.ADMINISTRATOR))
    owner = user(Role.VIEWER)
    answer = browser.post("/admin/accounts/token/add/", {"user": owner.pk, "name": "monitoring"})
    assert "no-store" in answer["Cache-Control"]
    token = Token.objects.get()
    text = re.search(r"<pre>(pvc_\w+_[\w-]+)</pre>", answer.content.decode())[1]
    assert Token.objects.verify(text) == token
    for page in (f"/admin/accounts/token/{token.pk}/change/", "/admin/accounts/token/"):
        assert text.split("_", 2)[2].encode() not in browser.get(page).content
    browser.post("/admin/accounts/token/", {"action": "revoke", "_selected_action": [token.pk]})
    assert Token.objects.verify(text) is None


def test_the_admin_makes_users_with_roles(user: Users) -> None:
    browser = Client()
    browser.force_login(user(Role.ADMINISTRATOR))
    fields = {"username": "ann", "role": 2, "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    answer = browser.post("/admin/accounts/user/add/", fields)
    assert answer.status_code == 302
    made = User.objects.get(username="ann")
    assert made.role == Role.OPERATOR
    assert made.check_password(PASSWORD)


def test_records_of_tasks_and_audit_cannot_be_changed_in_the_admin(user: Users) -> None:
    browser = Client()
    browser.force_login(user(Role.ADMINISTRATOR))
    for page in ("tasks/task/add/", "tasks/audit/add/"):
        assert browser.get(f"/admin/{page}").status_code == 403
