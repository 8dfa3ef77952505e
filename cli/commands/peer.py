"""``pvc peer``: which other clusters the chosen one knows."""

from __future__ import annotations

from typing import Any

import click

from cli.options import Decorator, apply, complete_peer, format_option, read_api_key, yes_option
from cli.routes import route
from cli.session import Session, pass_session

peer_argument = click.argument("name", shell_complete=complete_peer)


def _options(required: bool) -> Decorator[Any]:
    """The options of ``add`` and ``modify``."""
    return apply(
        click.option(
            "-a", "--api-uri", required=required, help="Its API, such as https://west.example.com:7370/api/v1."
        ),
        click.option(
            "-k",
            "--api-key",
            required=required,
            callback=read_api_key,
            metavar="KEY|@FILE|-",
            help="API key of an administrator there. @FILE and - keep it out of the list of processes.",
        ),
        click.option(
            "--verify-ssl/--no-verify-ssl",
            default=None,
            help="Refuse a certificate that is not valid, as is the default, or take any.",
        ),
        click.option("-p", "--pool", help="Pool of the copies there; an empty one: pools of the same names."),
        click.option("-b", "--bandwidth", help="The most bytes a second that are sent, such as 50M; 0: no limit."),
    )


@click.command()
@click.argument("name")
@_options(required=True)
@pass_session
def add(session: Session, /, name: str, **options: Any) -> None:
    """Make another cluster known as NAME."""
    session.client.write("POST", route("peers"), body={"name": name, **_body(options)})
    session.say(f"Peer {name} was added.")


@click.command()
@peer_argument
@_options(required=False)
@pass_session
def modify(session: Session, /, name: str, **options: Any) -> None:
    """Change what is known of the cluster NAME."""
    session.client.write("PUT", route("peers", name), body=_body(options))
    session.say(f"Peer {name} was changed.")


@click.command()
@peer_argument
@yes_option
@pass_session
def remove(session: Session, name: str, yes: bool) -> None:
    """Forget the cluster NAME, and its API key. The cluster itself is not touched."""
    session.confirm(f"Forget the peer {name}?", yes)
    session.client.write("DELETE", route("peers", name))
    session.say(f"Peer {name} was removed.")


@click.command("list")
@format_option("pretty", "raw", "json", "json-pretty")
@pass_session
def list_peers(session: Session, style: str) -> None:
    """List the other clusters that are known."""
    from cli.output import show_list
    from cli.tables.peers import PEERS

    show_list(session.client.get(route("peers")), style, PEERS)


def _body(options: dict[str, Any]) -> dict[str, Any]:
    token = options.pop("api_key")
    return {**options, "token": token or None}


COMMANDS = [add, list_peers, modify, remove]
