"""Arguments and options that several commands share, so that they are spelt and explained once."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Function], Function]
Completer = Callable[[click.Context, click.Parameter, str], list[str]]

SELECTORS = ("mem", "memprov", "load", "vcpus", "vms", "none")
METHODS = ("none", "live", "shutdown")


def complete_connection(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from cli.completion import connection_names

    return connection_names(incomplete)


def complete_task(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from cli.completion import task_ids

    return task_ids(ctx, incomplete)


def completer(*subject: str, key: str = "name") -> Completer:
    """Completes with ``key`` of the entities that the API lists under ``subject``."""

    def complete(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
        from cli.completion import cluster_names

        return cluster_names(ctx, subject, key, incomplete)

    return complete


complete_vm = completer("vm")
complete_node = completer("node")
complete_pool = completer("storage", "ceph", "pool")
complete_volume = completer("storage", "ceph", "volume")
complete_network = completer("network", key="vni")
complete_fault = completer("faults", key="id")
complete_peer = completer("peers")


def read_secret(text: str) -> str:
    """The text itself, or the content of @FILE: a list of processes shows what is typed here."""
    if not text.startswith("@"):
        return text
    try:
        with click.open_file(text[1:]) as stream:
            return str(stream.read()).strip()
    except OSError as error:
        raise click.BadParameter(f"{text[1:]} cannot be read: {error.strerror}") from None


def read_api_key(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str:
    """The key itself, or from @FILE, or from standard input for ``-``."""
    if not value:
        return ""
    if value == "-":
        key = sys.stdin.read().strip()
    else:
        key = read_secret(value)
    if not key.isascii() or not key.isprintable() or " " in key:
        raise click.BadParameter("an API key is one line of visible ASCII characters")
    return key


def this_host() -> str:
    """Short name of the machine this runs on: the node a node command means when it names none."""
    return socket.gethostname().partition(".")[0]


domain_argument = click.argument("domain", shell_complete=complete_vm)
node_argument = click.argument("node", default=this_host, shell_complete=complete_node)
pool_argument = click.argument("pool", shell_complete=complete_pool)
volume_argument = click.argument("name", shell_complete=complete_volume)
network_argument = click.argument("net", shell_complete=complete_network)
limit_argument = click.argument("limit", required=False)

yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
target_option = click.option(
    "-t",
    "--target",
    shell_complete=complete_node,
    help="Node to take; chosen by the machine's selector when not given.",
)
force_live_option = click.option(
    "--force-live", is_flag=True, help="Move it live or not at all: never by shutting down."
)
live_option = click.option(
    "--live/--no-live",
    "-l/-L",
    "live",
    default=True,
    show_default=True,
    help="Change the running machine as well, or only its description.",
)
restart_option = click.option(
    "--restart/--no-restart",
    "-r/-R",
    "restart",
    default=None,
    help="Restart a running machine so that a change of its description takes effect, or do not; asked if not given.",
)


def format_option(*formats: str) -> Decorator[Any]:
    """``-f/--format`` with these choices, the first of them the default."""
    return click.option(
        "-f",
        "--format",
        "style",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="How to show it.",
    )


def wait_option(short: bool = False) -> Decorator[Any]:
    """``--wait/--no-wait`` of every command that changes something; with ``-w`` where that is documented."""
    names = ("-w", "--wait/--no-wait") if short else ("--wait/--no-wait",)
    return click.option(
        *names,
        "wait",
        default=True,
        show_default=True,
        help="Wait for the end and show progress, or print the task's id.",
    )


def apply(*decorators: Decorator[Any]) -> Decorator[Any]:
    """Several decorators as one; the first stands first in the help."""

    def decorate(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def body_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, for the API; an option that may be repeated says nothing when it was not."""
    return {name: list(value) or None if isinstance(value, tuple) else value for name, value in options.items()}


def meta_options(function: Any) -> Any:
    """The options of a machine's metadata, under the API's names, for ``define`` and ``meta``."""
    return apply(
        click.option("-l", "--limit", help="Nodes it may run on, separated by commas."),
        click.option(
            "-s", "--node-selector", "selector", type=click.Choice(SELECTORS), help="How a node is chosen for it."
        ),
        click.option(
            "--autostart/--no-autostart",
            "-a/-A",
            "autostart",
            default=None,
            help="Start it when its node becomes ready, or do not.",
        ),
        click.option(
            "-m", "--method", "migration_method", type=click.Choice(METHODS), help="How it moves between nodes."
        ),
        click.option(
            "-d",
            "--max-downtime",
            "migration_max_downtime",
            type=click.IntRange(min=1),
            metavar="MILLISECONDS",
            help="How long it may stand still during a live move.",
        ),
        click.option(
            "--priority",
            type=click.IntRange(0, 100),
            metavar="0-100",
            help="Of two machines for one place, the higher one gets it.",
        ),
        click.option(
            "--affinity",
            multiple=True,
            metavar="TAG",
            help='Share a node with machines of this tag if possible; may be repeated, "" for none.',
        ),
        click.option(
            "--anti-affinity",
            multiple=True,
            metavar="TAG",
            help='Share no node with machines of this tag if possible; may be repeated, "" for none.',
        ),
    )(function)
