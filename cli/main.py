"""The root of the command tree, with the options that hold for every command."""

from __future__ import annotations

import os

import click

from cli.lazy import LazyGroup
from cli.options import complete_connection
from cli.session import Session


@click.group(name="pvc", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "--connection",
    envvar="PVC_CONNECTION",
    metavar="NAME",
    shell_complete=complete_connection,
    help="Cluster to work on; needed when several are known. Also $PVC_CONNECTION.",
)
@click.option("-v", "--debug", is_flag=True, help="Show each request and its answer's status and time on stderr.")
@click.option("-q", "--quiet", is_flag=True, help="Show neither progress nor notes.")
@click.option("-s", "--silent", is_flag=True, help="Like --quiet, and no message of success either.")
@click.option("-u", "--unsafe", is_flag=True, help="Answer every question with yes.")
@click.option("--colour", "--color", "colour", is_flag=True, help="Use colours even where the output is no terminal.")
@click.version_option(package_name="pvc", prog_name="pvc")
@click.pass_context
def main(
    ctx: click.Context, connection: str | None, debug: bool, quiet: bool, silent: bool, unsafe: bool, colour: bool
) -> None:
    """Run a Parallel Virtual Cluster.

    Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the cluster cannot be reached or refuses the API key.
    """
    if colour:
        ctx.color = True
    elif os.environ.get("NO_COLOR"):
        ctx.color = False
    ctx.obj = Session(connection, debug=debug, quiet=quiet or silent, silent=silent, unsafe=unsafe)


for _group in (
    LazyGroup("cluster", "The cluster as a whole: status, maintenance, tasks.", "cli.commands.cluster:COMMANDS"),
    LazyGroup("connection", "The clusters this command knows, and their keys.", "cli.commands.connection:COMMANDS"),
    LazyGroup("network", "Networks that machines are connected to.", "cli.commands.network:COMMANDS"),
    LazyGroup("node", "The servers of the cluster.", "cli.commands.node:COMMANDS"),
    LazyGroup("peer", "Other clusters, to which machines are sent.", "cli.commands.peer:COMMANDS"),
    LazyGroup("schedule", "Backups and mirrors by schedule.", "cli.commands.schedule:COMMANDS"),
    LazyGroup("storage", "Ceph storage: pools and volumes.", "cli.commands.storage:COMMANDS"),
    LazyGroup("vm", "Virtual machines.", "cli.commands.vm:COMMANDS"),
):
    main.add_command(_group)


if __name__ == "__main__":
    main()
