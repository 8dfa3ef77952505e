"""``pvc connection``: which clusters this command knows."""

from __future__ import annotations

from typing import Any

import click

from cli import connections
from cli.client import Client
from cli.connections import Connection
from cli.errors import CliError
from cli.options import complete_connection, format_option, read_api_key
from cli.routes import route
from cli.session import Session, pass_session

STATUS_TIMEOUT = 5.0  # seconds for one cluster to answer, when several are asked at once


def _address(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not value or any(character in value for character in "/ @[]"):
        raise click.BadParameter(
            f"{value!r} is neither a host name nor an IP address; the port is given with -p, TLS with -s"
        )
    return value


@click.command()
@click.argument("name")
@click.option("-d", "--description", default="", help="What the cluster is, for you.")
@click.option("-a", "--address", required=True, callback=_address, help="Host name or IP address of its API.")
@click.option(
    "-p",
    "--port",
    type=click.IntRange(1, 65535),
    default=connections.DEFAULT_PORT,
    show_default=True,
    help="Port of its API.",
)
@click.option(
    "-k",
    "--api-key",
    callback=read_api_key,
    metavar="KEY|@FILE|-",
    help="API key. Give it as @FILE or, with -, on standard input: a list of processes shows what is typed here.",
)
@click.option("--ssl/--no-ssl", "-s/-S", "ssl", default=False, show_default=True, help="Use TLS, or plain HTTP.")
@pass_session
def add(session: Session, name: str, description: str, address: str, port: int, api_key: str, ssl: bool) -> None:
    """Remember the cluster NAME, or change what is remembered of it."""
    known = connections.load()
    verb = "changed" if name in known else "added"
    known[name] = Connection(name, address, port, ssl, api_key, description)
    connections.save(known)
    session.say(f"Connection {name} to {known[name].url} was {verb}.")


@click.command()
@click.argument("name", shell_complete=complete_connection)
@pass_session
def remove(session: Session, name: str) -> None:
    """Forget the cluster NAME. The cluster itself is not touched."""
    known = connections.load()
    if name not in known:
        raise CliError(f"there is no connection {name!r}; known are {', '.join(known) or 'none'}")
    del known[name]
    connections.save(known)
    session.say(f"Connection {name} was removed.")


@click.command("list")
@click.option("-k", "--show-keys", is_flag=True, help="Show the API keys.")
@format_option("pretty", "raw", "json", "json-pretty", "json-prometheus")
def list_connections(show_keys: bool, style: str) -> None:
    """List the known clusters. ``json-prometheus`` is for Prometheus' HTTP service discovery."""
    from cli.output import show_json, show_list
    from cli.tables.connections import CONNECTIONS

    known = connections.load().values()
    if style == "json-prometheus":
        show_json([_prometheus(connection) for connection in known], style)
    else:
        show_list([_row(connection, show_keys) for connection in known], style, CONNECTIONS)


@click.command()
@format_option("pretty", "json", "json-pretty")
def detail(style: str) -> None:
    """Ask every known cluster how it is."""
    from concurrent.futures import ThreadPoolExecutor

    from cli.output import show_list
    from cli.tables.connections import CONNECTION_DETAILS

    known = list(connections.load().values())
    with ThreadPoolExecutor(max_workers=max(1, len(known))) as pool:
        rows = list(pool.map(_status, known))
    show_list(rows, style, CONNECTION_DETAILS)


def _row(connection: Connection, show_keys: bool) -> dict[str, Any]:
    hidden = "hidden" if connection.api_key else ""
    return {
        "name": connection.name,
        "description": connection.description,
        "address": connection.address,
        "port": connection.port,
        "scheme": connection.scheme,
        "api_key": connection.api_key if show_keys else hidden,
    }


def _prometheus(connection: Connection) -> dict[str, Any]:
    labels = {
        "__metrics_path__": route("metrics"),
        "__scheme__": connection.scheme,
        "pvc_cluster_id": connection.name,
        "pvc_cluster_name": connection.description or connection.name,
    }
    return {"targets": [connection.url.partition("://")[2]], "labels": labels}


def _status(connection: Connection) -> dict[str, Any]:
    """A row of what the cluster says of itself; of one that does not answer, why."""
    row: dict[str, Any] = {"name": connection.name, "description": connection.description, "url": connection.url}
    client = Client(connection, connect_timeout=STATUS_TIMEOUT, answer_timeout=STATUS_TIMEOUT)
    try:
        status = client.get(route("status"))
    except CliError as error:
        return row | {"reachable": False, "error": error.message}
    finally:
        client.close()
    return row | {
        "reachable": True,
        "version": status.get("pvc_version"),
        "primary_node": status.get("primary_node"),
        "health": (status.get("cluster_health") or {}).get("health"),
        "maintenance": "on" if str(status.get("maintenance")).lower() == "true" else "off",
        "nodes": (status.get("nodes") or {}).get("total"),
        "vms": (status.get("vms") or {}).get("total"),
        "networks": status.get("networks"),
        "pools": status.get("pools"),
        "volumes": status.get("volumes"),
    }


COMMANDS = [add, detail, list_connections, remove]
