"""``pvc schedule``: backups and mirrors that the cluster makes by itself, and where backups are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from cli.lazy import LazyGroup
from cli.options import Decorator, apply, completer, format_option, wait_option, yes_option
from cli.routes import route
from cli.session import Session, pass_session

backup_argument = click.argument("name", shell_complete=completer("schedules", "backup"))
mirror_argument = click.argument("name", shell_complete=completer("schedules", "mirror"))
target_argument = click.argument("name", shell_complete=completer("schedules", "target"))
list_format_option = format_option("pretty", "raw", "json", "json-pretty")
item_format_option = format_option("pretty", "json", "json-pretty")


def from_file(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """The text itself, or the content of @FILE: a list of processes shows what is typed here."""
    return read_secret(value) if value is not None else None


def read_secret(text: str) -> str:
    if not text.startswith("@"):
        return text
    try:
        with click.open_file(text[1:]) as stream:
            return str(stream.read()).strip()
    except OSError as error:
        raise click.BadParameter(f"{text[1:]} cannot be read: {error.strerror}") from None


def several(*names: str, metavar: str, help: str) -> Decorator[Any]:
    return click.option(*names, multiple=True, metavar=metavar, help=f'{help} May be repeated; "" for none.')


COMMON: list[Decorator[Any]] = [
    click.option("-w", "--when", help='As for cron in UTC, such as "30 2 * * *", or every 15m, 6h or 1d.'),
    click.option("--enabled/--disabled", default=None, help="Follow it, or do not."),
    several("-g", "--tag", "tags", metavar="TAG", help="Machines with any of these tags."),
    several("--vm", "vms", metavar="NAME", help="Further machines."),
    several("--mail", metavar="ADDRESS", help="Who gets a report of each run."),
    click.option("--errors-only/--every-run", default=None, help="When a report is sent."),
    click.option("--web-hook", callback=from_file, metavar="URL|@FILE", help="Where a report is posted to, as JSON."),
]
BACKUP_OPTIONS = apply(
    click.option("-t", "--target", help="Absolute directory of the nodes, or a stored target."),
    *COMMON,
    click.option("-k", "--keep", help='What is kept: such as last=3,daily=7,weekly=4, or full=2. "" for everything.'),
    click.option("--full-interval", type=click.IntRange(1, 1000), help="Every so-manieth backup is a full one."),
    click.option("--compress/--no-compress", default=None, help="Compress where it pays."),
    several("--recipient", "recipients", metavar="KEY", help="Public key of age to encrypt for."),
    click.option("--verify/--no-verify", default=None, help="Read each backup back before it counts as complete."),
    several("--mount", metavar="COMMAND", help="Run this before, without a shell."),
    several("--unmount", metavar="COMMAND", help="Run this after, whatever happened."),
    click.option("--test-when", help='When the newest backups are restored for a try. "" for never.'),
    click.option("--test-sign", type=click.Choice(["console", "agent", "script"]), help="What shows that one boots."),
    click.option("--test-argument", help="Regular expression for the console, or the command."),
    click.option("--test-timeout", type=click.IntRange(1, 86400), metavar="SECONDS", help="Time it gets to boot."),
    click.option("--test-pool", help="Where disks are restored for a try."),
    click.option("--identity-file", help="File of the nodes with the age identity that decrypts backups."),
)
MIRROR_OPTIONS = apply(
    click.option("-p", "--peer", help="The other cluster."),
    *COMMON,
    click.option("--pool", help="Its pool for the disks."),
    click.option("-k", "--keep", type=click.IntRange(min=1), help="Snapshots that are kept here."),
    click.option("--peer-keep", type=click.IntRange(min=1), help="Snapshots that are kept there."),
    click.option("--goal", type=click.IntRange(min=0), metavar="SECONDS", help="Lag that is a fault; 0 for none."),
)
TARGET_OPTIONS = apply(
    click.option(
        "-u", "--uri", help="s3://bucket/prefix?endpoint=https://host:port, sftp://user@host:port/path, file:///path."
    ),
    click.option(
        "-c",
        "--credential",
        "credentials",
        multiple=True,
        metavar="NAME=@FILE",
        help="access_key and secret_key for S3; password or private_key, and host_key, for SFTP. May be repeated.",
    ),
)


def body_of(fields: dict[str, Any]) -> dict[str, Any]:
    """What was given; an option that may be repeated says nothing when it was not."""
    return {name: _several(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def _several(values: Sequence[str]) -> list[str] | None:
    return list(values) or None


def _credentials(values: Sequence[str]) -> dict[str, str]:
    found = {}
    for value in values:
        name, _, content = value.partition("=")
        found[name] = read_secret(content)
    return found


def _write(session: Session, method: str, *path: str, body: dict[str, Any] | None = None) -> None:
    from cli.tasks import submit

    submit(session, method, route("schedules", *path), body=body)


@click.command("list")
@list_format_option
@pass_session
def list_backups(session: Session, style: str) -> None:
    """List schedules of backups."""
    from cli.output import show_list
    from cli.tables.schedules import BACKUPS

    show_list(session.client.get(route("schedules", "backup")), style, BACKUPS)


@click.command("info")
@backup_argument
@item_format_option
@pass_session
def info_backup(session: Session, name: str, style: str) -> None:
    """Show the schedule NAME."""
    from cli.output import show_item
    from cli.tables.schedules import BACKUP

    show_item(session.client.get(route("schedules", "backup", name)), style, BACKUP)


@click.command("add")
@click.argument("name")
@BACKUP_OPTIONS
@pass_session
def add_backup(session: Session, /, name: str, **fields: Any) -> None:
    """Make the schedule NAME. It needs --when, --target, and machines by --tag or --vm."""
    _write(session, "POST", "backup", body={"name": name, **body_of(fields)})


@click.command("modify")
@backup_argument
@BACKUP_OPTIONS
@pass_session
def modify_backup(session: Session, /, name: str, **fields: Any) -> None:
    """Change the schedule NAME. What is not given stays as it is."""
    _write(session, "PUT", "backup", name, body=body_of(fields))


@click.command("remove")
@backup_argument
@yes_option
@pass_session
def remove_backup(session: Session, name: str, yes: bool) -> None:
    """Remove the schedule NAME. Its backups stay where they are."""
    session.confirm(f"Remove the backup schedule {name}?", yes)
    _write(session, "DELETE", "backup", name)


@click.command("preview")
@backup_argument
@click.option("-k", "--keep", help="Another retention to try, such as last=3,daily=7.")
@list_format_option
@pass_session
def preview_backup(session: Session, name: str, keep: str | None, style: str) -> None:
    """Show which backups the schedule NAME would remove now."""
    from cli.output import show_list
    from cli.tables.schedules import VERDICTS
    from cli.tasks import SUCCESS, conclude, follow

    answer = session.client.write("POST", route("schedules", "backup", name, "preview"), None, {"keep": keep})
    task = follow(session, answer["task_id"])
    if task["state"] != SUCCESS:
        conclude(session, task)
    show_list(task["result"]["backups"], style, VERDICTS)
    session.note(task["result"]["message"])


@click.command("test")
@backup_argument
@wait_option()
@pass_session
def test_backup(session: Session, name: str, wait: bool) -> None:
    """Try now whether the newest backups of NAME restore."""
    from cli.tasks import submit

    submit(session, "POST", route("schedules", "backup", name, "tests"), wait=wait)


@click.command("tests")
@backup_argument
@list_format_option
@pass_session
def tests_backup(session: Session, name: str, style: str) -> None:
    """Show how the restore tests of the schedule NAME ended."""
    from cli.output import show_list
    from cli.tables.schedules import TESTS

    show_list(session.client.get(route("schedules", "backup", name, "tests")), style, TESTS)


@click.command("list")
@list_format_option
@pass_session
def list_mirrors(session: Session, style: str) -> None:
    """List schedules of mirrors."""
    from cli.output import show_list
    from cli.tables.schedules import MIRRORS

    show_list(session.client.get(route("schedules", "mirror")), style, MIRRORS)


@click.command("info")
@mirror_argument
@item_format_option
@pass_session
def info_mirror(session: Session, name: str, style: str) -> None:
    """Show the schedule NAME."""
    from cli.output import show_item
    from cli.tables.schedules import MIRROR

    show_item(session.client.get(route("schedules", "mirror", name)), style, MIRROR)


@click.command("add")
@click.argument("name")
@MIRROR_OPTIONS
@pass_session
def add_mirror(session: Session, /, name: str, **fields: Any) -> None:
    """Make the schedule NAME. It needs --when, --peer, and machines by --tag or --vm."""
    _write(session, "POST", "mirror", body={"name": name, **body_of(fields)})


@click.command("modify")
@mirror_argument
@MIRROR_OPTIONS
@pass_session
def modify_mirror(session: Session, /, name: str, **fields: Any) -> None:
    """Change the schedule NAME. What is not given stays as it is."""
    _write(session, "PUT", "mirror", name, body=body_of(fields))


@click.command("remove")
@mirror_argument
@yes_option
@pass_session
def remove_mirror(session: Session, name: str, yes: bool) -> None:
    """Remove the schedule NAME. Its mirrors stay, and are no longer brought up to date."""
    session.confirm(f"Remove the mirror schedule {name}?", yes)
    _write(session, "DELETE", "mirror", name)


@click.command("list")
@list_format_option
@pass_session
def list_targets(session: Session, style: str) -> None:
    """List stored targets."""
    from cli.output import show_list
    from cli.tables.schedules import TARGETS

    show_list(session.client.get(route("schedules", "target")), style, TARGETS)


@click.command("add")
@click.argument("name")
@TARGET_OPTIONS
@pass_session
def add_target(session: Session, name: str, uri: str | None, credentials: tuple[str, ...]) -> None:
    """Store the target NAME. Its credentials are never shown again."""
    _write(session, "POST", "target", body={"name": name, "uri": uri, **_credentials(credentials)})


@click.command("modify")
@target_argument
@TARGET_OPTIONS
@pass_session
def modify_target(session: Session, name: str, uri: str | None, credentials: tuple[str, ...]) -> None:
    """Change the target NAME. What is not given stays as it is."""
    _write(session, "PUT", "target", name, body={"uri": uri, **_credentials(credentials)})


@click.command("remove")
@target_argument
@yes_option
@pass_session
def remove_target(session: Session, name: str, yes: bool) -> None:
    """Forget the target NAME. What is kept there stays."""
    session.confirm(f"Forget the target {name} with its credentials?", yes)
    _write(session, "DELETE", "target", name)


@click.command()
@click.option("--email-report", metavar="ADDRESSES", help="Further addresses for the report, separated by commas.")
@click.option("--force-full", is_flag=True, help="Make full backups, whatever the schedules say.")
@click.option("-s", "--schedule", multiple=True, help="Only this schedule; may be repeated.")
@wait_option()
@click.option("--cron", is_flag=True, help="Say nothing unless something fails.")
@pass_session
def autobackup(
    session: Session, email_report: str | None, force_full: bool, schedule: tuple[str, ...], wait: bool, cron: bool
) -> None:
    """Run the schedules of backups now, those that are enabled."""
    _run(session, "autobackup", email_report, schedule, wait, cron, force_full=force_full)


@click.command()
@click.option("--email-report", metavar="ADDRESSES", help="Further addresses for the report, separated by commas.")
@click.option("--email-errors-only", is_flag=True, help="Send a report only when something failed.")
@click.option("-s", "--schedule", multiple=True, help="Only this schedule; may be repeated.")
@wait_option()
@click.option("--cron", is_flag=True, help="Say nothing unless something fails.")
@pass_session
def automirror(
    session: Session,
    email_report: str | None,
    email_errors_only: bool,
    schedule: tuple[str, ...],
    wait: bool,
    cron: bool,
) -> None:
    """Run the schedules of mirrors now, those that are enabled."""
    _run(session, "automirror", email_report, schedule, wait, cron, email_errors_only=email_errors_only)


def _run(
    session: Session, call: str, mail: str | None, schedule: tuple[str, ...], wait: bool, cron: bool, **flags: bool
) -> None:
    from cli.tasks import submit

    session.quiet, session.silent = session.quiet or cron, session.silent or cron
    body = {"email_recipients": mail, "schedule": _several(schedule), **flags}
    submit(session, "POST", route("vm", call), body=body, wait=wait)


BACKUP = [
    add_backup,
    info_backup,
    list_backups,
    modify_backup,
    preview_backup,
    remove_backup,
    test_backup,
    tests_backup,
]
MIRROR = [add_mirror, info_mirror, list_mirrors, modify_mirror, remove_mirror]
TARGET = [add_target, list_targets, modify_target, remove_target]
COMMANDS = [
    LazyGroup("backup", "Backups by schedule.", "cli.commands.schedule:BACKUP"),
    LazyGroup("mirror", "Mirrors by schedule.", "cli.commands.schedule:MIRROR"),
    LazyGroup("target", "Stores of backups, with their credentials.", "cli.commands.schedule:TARGET"),
]
