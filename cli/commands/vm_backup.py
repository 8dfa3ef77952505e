"""``pvc vm backup``, and the commands of ``pvc vm snapshot`` that write and read files."""

from __future__ import annotations

from typing import Any

import click

from cli.options import apply, complete_node, domain_argument, wait_option
from cli.routes import route
from cli.session import Session, pass_session

node_option = click.option(
    "--node", shell_complete=complete_node, help="Node whose directory is meant; the primary coordinator if not given."
)
incremental_option = click.option(
    "-i",
    "--incremental",
    "incremental_parent",
    metavar="NAME",
    help="An older one there: write only what differs from it.",
)


# What importing and restoring take alike.
restore_options = apply(
    click.option(
        "--retain-snapshot/--remove-snapshot",
        "-r/-R",
        "retain_snapshot",
        default=True,
        show_default=True,
        help="Keep the snapshots it is made of, from which increments can differ, or do not.",
    ),
    click.option("-f", "--force", is_flag=True, help="Even if a pool could then be filled beyond its safe limit."),
    click.option("--identity-file", metavar="PATH", help="File on the node with the age identity that decrypts it."),
    node_option,
    wait_option(),
)


@click.command("export")
@domain_argument
@click.argument("snapshot_name")
@click.argument("export_path")
@incremental_option
@click.option("--verify", is_flag=True, help="Read all of it back before it counts as complete.")
@node_option
@wait_option()
@pass_session
def export_snapshot(session: Session, /, domain: str, **options: Any) -> None:
    """Write a snapshot of the machine DOMAIN into a directory.

    EXPORT_PATH is an absolute path on a node, or a store of backups. The files come into DOMAIN/SNAPSHOT_NAME there.
    """
    _submit(session, domain, "snapshot", "export", **options)


@click.command("import")
@click.argument("domain")
@click.argument("snapshot_name")
@click.argument("import_path")
@restore_options
@pass_session
def import_snapshot(session: Session, /, domain: str, **options: Any) -> None:
    """Make the machine DOMAIN from an exported snapshot.

    IMPORT_PATH is the path to which it was exported. All files are checked before anything is made. The machine keeps
    its UUID and is not started; it must not be there any more.
    """
    _submit(session, domain, "snapshot", "import", **options)


@click.command("create")
@domain_argument
@click.argument("backup_path")
@incremental_option
@click.option("-r", "--retain-snapshot", is_flag=True, help="Keep its snapshot, from which increments can differ.")
@node_option
@wait_option()
@pass_session
def create_backup(session: Session, /, domain: str, **options: Any) -> None:
    """Back the machine DOMAIN up into a directory.

    The backup is named after the time. BACKUP_PATH is an absolute path on a node, or a store of backups.
    """
    _submit(session, domain, "backup", **options)


@click.command("remove")
@domain_argument
@click.argument("backup_datestring")
@click.argument("backup_path")
@node_option
@wait_option()
@pass_session
def remove_backup(session: Session, /, domain: str, wait: bool, **options: Any) -> None:
    """Remove a backup of the machine DOMAIN, and its snapshot."""
    from cli.tasks import submit

    submit(session, "DELETE", route("vm", domain, "backup"), query=options, wait=wait)


@click.command("restore")
@click.argument("domain")
@click.argument("backup_datestring")
@click.argument("backup_path")
@restore_options
@pass_session
def restore_backup(session: Session, /, domain: str, **options: Any) -> None:
    """Make the machine DOMAIN from a backup of it.

    All files are checked before anything is made. The machine must not be there any more; it is not started.
    """
    _submit(session, domain, "restore", **options)


def _submit(session: Session, /, domain: str, *call: str, wait: bool, **body: Any) -> None:
    from cli.tasks import submit

    submit(session, "POST", route("vm", domain, *call), body=body, wait=wait)


EXPORTS = [export_snapshot, import_snapshot]
BACKUP = [create_backup, remove_backup, restore_backup]
