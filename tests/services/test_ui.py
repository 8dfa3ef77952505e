"""The page for people: its frame. What fills it is the API, which has tests of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import reverse

from lab.local import LocalServices
from pvc_core.model.fence import FenceStep
from pvc_core.model.node import DaemonState, DomainState
from pvc_core.model.task import Role
from pvc_web.accounts.models import Token, User

PAGES = ["overview", "nodes", "machines", "storage", "networks", "copies", "tasks"]
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


@pytest.mark.parametrize(
    ("role", "rights"),
    [
        (Role.VIEWER, set()),
        (Role.OPERATOR, {"data-operator"}),
        (Role.ADMINISTRATOR, {"data-operator", "data-administrator"}),
    ],
)
@pytest.mark.parametrize("page", ["overview", "nodes"])
def test_the_script_is_told_what_its_user_may_do(
    browser: Callable[[Role], Client], page: str, role: Role, rights: set[str]
) -> None:
    text = browser(role).get(reverse(f"ui:{page}")).content.decode()
    assert set(re.findall(r"\sdata-(?:operator|administrator)\b", text)) == {f" {right}" for right in rights}


@pytest.mark.parametrize(("role", "offered"), [(Role.VIEWER, False), (Role.OPERATOR, True)])
def test_only_the_nodes_page_has_a_column_for_actions_on_nodes(
    browser: Callable[[Role], Client], role: Role, offered: bool
) -> None:
    client = browser(role)
    columns = {page: _headings(client, page, "nodes") for page in ("overview", "nodes")}
    assert columns["nodes"] == columns["overview"] + (["Actions"] if offered else [])


@pytest.mark.parametrize("states", [FenceStep, DaemonState, DomainState], ids=lambda states: states.__name__)
def test_each_state_of_a_node_has_a_colour(states: type[StrEnum]) -> None:
    tones = re.search(r"^const TONES = \{(.*?)^\};", _script(), re.DOTALL | re.MULTILINE)
    assert tones is not None
    coloured = set(re.findall(r'"(\w+)"', tones[1]))
    assert {state.value for state in states} - coloured <= {DaemonState.STOP}


@pytest.mark.parametrize("page", [*PAGES, "machine"])
def test_what_the_script_fills_on_a_page_is_on_it(browser: Callable[[Role], Client], page: str) -> None:
    """What the page's own function names, and those that it calls."""
    script = _script()
    part = re.search(rf"^  {page}\(\) \{{(.*?)^  \}},", script, re.DOTALL | re.MULTILINE)
    assert part is not None
    functions = dict(re.findall(r"^function (\w+)(\(.*?)^\}", script, re.DOTALL | re.MULTILINE))
    parts = [part[1], *(functions.get(name, "") for name in set(re.findall(r"\b(\w+)\(", part[1])))]
    named = set(re.findall(r'(?:byId|table)\("([\w-]+)"', "".join(parts)))
    path = reverse("ui:machine", args=["web01"]) if page == "machine" else reverse(f"ui:{page}")
    there = set(re.findall(r'\bid="([\w-]+)"', browser(Role.OPERATOR).get(path).content.decode()))
    optional = {"filter", "filter-text"}
    assert named - there <= optional


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


def _headings(client: Client, page: str, table: str) -> list[str]:
    """Those of the table within ``#table``."""
    text = client.get(reverse(f"ui:{page}")).content.decode()
    head = text.partition(f'id="{table}"')[2].partition("</thead>")[0]
    return [re.sub(r"<.*?>", "", heading) for heading in re.findall(r"<th\b.*?>(.*?)</th>", head)]


def _script() -> str:
    path = finders.find("ui/pvc.js")
    assert path is not None
    return Path(path).read_text()


def _csrf(text: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', text)
    assert found is not None
    return found[1]
