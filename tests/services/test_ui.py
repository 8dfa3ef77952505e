"""The page for people: its frame. What fills it is the API, which has tests of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import reverse

from lab.local import LocalServices
from pvc_core.model.task import Role
from pvc_web.accounts.models import Token, User

PAGES = ["overview", "nodes", "machines", "storage", "networks", "tasks"]
PATHS = [reverse(f"ui:{page}") for page in PAGES] + [reverse("ui:machine", args=["web01"])]


@pytest.fixture
def browser(user: Callable[[Role], User]) -> Callable[[Role], Client]:
    """Makes browsers in which a user of that role is logged in."""

    def make(role: Role) -> Client:
        client = Client()
        client.force_login(user(role))
        return client

    return make


@pytest.mark.parametrize("path", PATHS)
def test_a_page_sends_who_is_not_logged_in_to_the_login_and_back(database: None, path: str) -> None:
    answer = Client().get(path)
    assert answer.status_code == 302
    assert answer["Location"] == f"{reverse('ui:login')}?next={path}"


@pytest.mark.parametrize("path", PATHS)
def test_a_page_renders_without_script_within_it(browser: Callable[[Role], Client], path: str) -> None:
    answer = browser(Role.VIEWER).get(path)
    assert answer.status_code == 200
    text = answer.content.decode()
    assert "<h1>" in text
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son[a-z]+=|javascript:|<style|\sstyle=", text)
    assert "default-src 'self'" in answer["Content-Security-Policy"]


def test_no_secret_is_in_a_page(
    browser: Callable[[Role], Client], user: Callable[[Role], User], services: LocalServices
) -> None:
    _, token = Token.objects.issue(user(Role.ADMINISTRATOR), "test")
    client = browser(Role.ADMINISTRATOR)
    secrets = [str(token), client.cookies["sessionid"].value]
    secrets += [path.read_text().strip() for path in services.directory.glob("*.secret")]
    for path in PATHS:
        text = client.get(path).content.decode()
        assert not [secret for secret in secrets if secret in text]


@pytest.mark.parametrize(("role", "offered"), [(Role.VIEWER, False), (Role.OPERATOR, True)])
def test_actions_are_offered_to_those_who_may_take_them(
    browser: Callable[[Role], Client], role: Role, offered: bool
) -> None:
    text = browser(role).get(reverse("ui:machine", args=["web01"])).content.decode()
    assert ("data-action=" in text) is offered


@pytest.mark.parametrize(("role", "offered"), [(Role.VIEWER, False), (Role.OPERATOR, True)])
def test_faults_are_shown_to_all_and_acknowledged_by_those_who_may(
    browser: Callable[[Role], Client], role: Role, offered: bool
) -> None:
    text = browser(role).get(reverse("ui:overview")).content.decode()
    assert 'id="faults"' in text
    assert ("data-write=" in text) is offered


def test_a_machine_s_name_is_escaped(browser: Callable[[Role], Client]) -> None:
    text = browser(Role.VIEWER).get("/ui/machines/%3Cb%3E").content.decode()
    assert "<b>" not in text
    assert "&lt;b&gt;" in text


def test_the_root_leads_to_the_page(browser: Callable[[Role], Client]) -> None:
    assert browser(Role.VIEWER).get("/")["Location"] == reverse("ui:overview")


def test_logging_in_with_a_password_opens_the_page_and_logging_out_closes_it(user: Callable[[Role], User]) -> None:
    someone = user(Role.VIEWER)
    someone.set_password("a long enough password")
    someone.save()
    client = Client(enforce_csrf_checks=True)
    login = reverse("ui:login")
    form = {"username": someone.username, "password": "wrong", "next": reverse("ui:tasks")}
    form["csrfmiddlewaretoken"] = _csrf(client.get(login).content.decode())
    refused = client.post(login, form)
    assert refused.status_code == 200
    assert 'role="alert"' in refused.content.decode()
    answer = client.post(login, form | {"password": "a long enough password"})
    assert (answer.status_code, answer["Location"]) == (302, reverse("ui:tasks"))
    assert client.get("/api/v1/status").status_code == 200
    page = client.get(reverse("ui:overview")).content.decode()
    client.post(reverse("ui:logout"), {"csrfmiddlewaretoken": _csrf(page)})
    assert client.get(reverse("ui:overview")).status_code == 302


def test_a_session_s_write_without_the_page_s_token_is_refused(browser: Callable[[Role], Client]) -> None:
    client = Client(enforce_csrf_checks=True)
    client.cookies = browser(Role.ADMINISTRATOR).cookies
    assert client.post("/api/v1/status", {"state": "true"}).status_code == 403


@pytest.mark.parametrize("name", ["ui/pvc.js", "ui/pvc.css", "ui/icon.svg"])
def test_the_page_s_files_are_served_by_this_server(name: str) -> None:
    path = finders.find(name)
    assert path is not None
    assert not re.search(r"https?://(?!www\.w3\.org)", Path(path).read_text())


def _csrf(text: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', text)
    assert found is not None
    return found[1]
