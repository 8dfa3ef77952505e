"""``pvc vm backup``, and the commands of ``pvc vm snapshot`` that write and read files."""

from __future__ import annotations

import click

from cli.options import apply, complete_node, domain_argument, wait_option
from cli.routes import route
from cli.session import Session, pass_session

node_option = click.option(
    "--node", shell_complete=complete_node, help="Node whose directory is meant; the primary coordinator if not given."
)
incremental_option = click.option(
    "-i", "--incremental", metavar="NAME", help="An older one there: write only what differs from it."
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
def export_snapshot(
    session: Session,
    domain: str,
    snapshot_name: str,
    export_path: str,
    incremental: str | None,
    verify: bool,
    node: str | None,
    wait: bool,
) -> None:
    """Write a snapshot of the machine DOMAIN into a directory.

    EXPORT_PATH is an absolute path on a node, or a store of backups. The files come into DOMAIN/SNAPSHOT_NAME there.
    """
    from cli.tasks import submit

    body = {
        "snapshot_name": snapshot_name,
        "export_path": export_path,
        "incremental_parent": incremental,
        "verify": verify,
        "node": node,
    }
    submit(session, "POST", route("vm", domain, "snapshot", "export"), body=body, wait=wait)


@click.command("import")
@click.argument("domain")
@click.argument("snapshot_name")
@click.argument("import_path")
@restore_options
@pass_session
def import_snapshot(
    session: Session,
    domain: str,
    snapshot_name: str,
    import_path: str,
    retain_snapshot: bool,
    force: bool,
    identity_file: str | None,
    node: str | None,
    wait: bool,
) -> None:
    """Make the machine DOMAIN from an exported snapshot.

    IMPORT_PATH is the path to which it was exported. All files are checked before anything is made. The machine keeps
    its UUID and is not started; it must not be there any more.
    """
    from cli.tasks import submit

    body = {
        "snapshot_name": snapshot_name,
        "import_path": import_path,
        "retain_snapshot": retain_snapshot,
        "force": force,
        "identity_file": identity_file,
        "node": node,
    }
    submit(session, "POST", route("vm", domain, "snapshot", "import"), body=body, wait=wait)


@click.command("create")
@domain_argument
@click.argument("backup_path")
@incremental_option
@click.option("-r", "--retain-snapshot", is_flag=True, help="Keep its snapshot, from which increments can differ.")
@node_option
@wait_option()
@pass_session
def create_backup(
    session: Session,
    domain: str,
    backup_path: str,
    incremental: str | None,
    retain_snapshot: bool,
    node: str | None,
    wait: bool,
) -> None:
    """Back the machine DOMAIN up into a directory.

    The backup is named after the time. BACKUP_PATH is an absolute path on a node, or a store of backups.
    """
    from cli.tasks import submit

    body = {
        "backup_path": backup_path,
        "incremental_parent": incremental,
        "retain_snapshot": retain_snapshot,
        "node": node,
    }
    submit(session, "POST", route("vm", domain, "backup"), body=body, wait=wait)


@click.command("remove")
@domain_argument
@click.argument("backup_datestring")
@click.argument("backup_path")
@node_option
@wait_option()
@pass_session
def remove_backup(
    session: Session, domain: str, backup_datestring: str, backup_path: str, node: str | None, wait: bool
) -> None:
    """Remove a backup of the machine DOMAIN, and its snapshot."""
    from cli.tasks import submit

    query = {"backup_datestring": backup_datestring, "backup_path": backup_path, "node": node}
    submit(session, "DELETE", route("vm", domain, "backup"), query=query, wait=wait)


@click.command("restore")
@click.argument("domain")
@click.argument("backup_datestring")
@click.argument("backup_path")
@restore_options
@pass_session
def restore_backup(
    session: Session,
    domain: str,
    backup_datestring: str,
    backup_path: str,
    retain_snapshot: bool,
    force: bool,
    identity_file: str | None,
    node: str | None,
    wait: bool,
) -> None:
    """Make the machine DOMAIN from a backup of it.

    All files are checked before anything is made. The machine must not be there any more; it is not started.
    """
    from cli.tasks import submit

    body = {
        "backup_datestring": backup_datestring,
        "backup_path": backup_path,
        "retain_snapshot": retain_snapshot,
        "force": force,
        "identity_file": identity_file,
        "node": node,
    }
    submit(session, "POST", route("vm", domain, "restore"), body=body, wait=wait)


EXPORTS = [export_snapshot, import_snapshot]
BACKUP = [create_backup, remove_backup, restore_backup]
