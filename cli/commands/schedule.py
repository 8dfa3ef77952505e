"""``pvc schedule``: backups and mirrors that the cluster makes by itself, and where backups are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from cli.lazy import LazyGroup
from cli.options import Decorator, apply, body_of, completer, format_option, read_secret, wait_option, yes_option
from cli.routes import route
from cli.session import Session, pass_session

list_format_option = format_option("pretty", "raw", "json", "json-pretty")


def from_file(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    return None if value is None else read_secret(value)


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


def with_credentials(fields: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for value in fields.pop("credentials"):
        name, _, content = value.partition("=")
        found[name] = read_secret(content)
    return fields | found


@dataclass(frozen=True)
class Kind:
    """What is kept under names, of which all commands on it differ only in these words. ``called`` is the kind in the
    paths of the API; ``table`` and ``sheet`` are of ``cli.tables.schedules``; ``question`` is asked before removal."""

    called: str
    noun: str
    listed: str
    add: str
    remove: str
    question: str
    options: Decorator[Any]
    table: str
    sheet: str = ""
    body: Callable[[dict[str, Any]], dict[str, Any]] = body_of

    @property
    def argument(self) -> Decorator[Any]:
        return click.argument("name", shell_complete=completer("schedules", self.called))

    def commands(self) -> list[click.Command]:
        found = [self._list(), self._add(), self._modify(), self._remove()]
        return [*found, self._info()] if self.sheet else found

    def _list(self) -> click.Command:
        @click.command("list", help=f"List {self.listed}.")
        @list_format_option
        @pass_session
        def command(session: Session, style: str) -> None:
            from cli.output import show_list
            from cli.tables import schedules

            show_list(session.client.get(route("schedules", self.called)), style, getattr(schedules, self.table))

        return command

    def _info(self) -> click.Command:
        @click.command("info", help=f"Show the {self.noun} NAME.")
        @self.argument
        @format_option("pretty", "json", "json-pretty")
        @pass_session
        def command(session: Session, name: str, style: str) -> None:
            from cli.output import show_item
            from cli.tables import schedules

            show_item(session.client.get(route("schedules", self.called, name)), style, getattr(schedules, self.sheet))

        return command

    def _add(self) -> click.Command:
        @click.command("add", help=self.add)
        @click.argument("name")
        @self.options
        @pass_session
        def command(session: Session, /, name: str, **fields: Any) -> None:
            self._write(session, "POST", body={"name": name, **self.body(fields)})

        return command

    def _modify(self) -> click.Command:
        @click.command("modify", help=f"Change the {self.noun} NAME. What is not given stays as it is.")
        @self.argument
        @self.options
        @pass_session
        def command(session: Session, /, name: str, **fields: Any) -> None:
            self._write(session, "PUT", name, body=self.body(fields))

        return command

    def _remove(self) -> click.Command:
        @click.command("remove", help=self.remove)
        @self.argument
        @yes_option
        @pass_session
        def command(session: Session, name: str, yes: bool) -> None:
            session.confirm(self.question.format(name), yes)
            self._write(session, "DELETE", name)

        return command

    def _write(self, session: Session, method: str, *name: str, body: dict[str, Any] | None = None) -> None:
        from cli.tasks import submit

        submit(session, method, route("schedules", self.called, *name), body=body)


BACKUPS = Kind(
    "backup",
    "schedule",
    listed="schedules of backups",
    add="Make the schedule NAME. It needs --when, --target, and machines by --tag or --vm.",
    remove="Remove the schedule NAME. Its backups stay where they are.",
    question="Remove the backup schedule {}?",
    options=BACKUP_OPTIONS,
    table="BACKUPS",
    sheet="BACKUP",
)
MIRRORS = Kind(
    "mirror",
    "schedule",
    listed="schedules of mirrors",
    add="Make the schedule NAME. It needs --when, --peer, and machines by --tag or --vm.",
    remove="Remove the schedule NAME. Its mirrors stay, and are no longer brought up to date.",
    question="Remove the mirror schedule {}?",
    options=MIRROR_OPTIONS,
    table="MIRRORS",
    sheet="MIRROR",
)
TARGETS = Kind(
    "target",
    "target",
    listed="stored targets",
    add="Store the target NAME. Its credentials are never shown again.",
    remove="Forget the target NAME. What is kept there stays.",
    question="Forget the target {} with its credentials?",
    options=TARGET_OPTIONS,
    table="TARGETS",
    body=with_credentials,
)


@click.command("preview")
@BACKUPS.argument
@click.option("-k", "--keep", help="Another retention to try, such as last=3,daily=7.")
@list_format_option
@pass_session
def preview(session: Session, name: str, keep: str | None, style: str) -> None:
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
@BACKUPS.argument
@wait_option()
@pass_session
def test(session: Session, name: str, wait: bool) -> None:
    """Try now whether the newest backups of NAME restore."""
    from cli.tasks import submit

    submit(session, "POST", route("schedules", "backup", name, "tests"), wait=wait)


@click.command("tests")
@BACKUPS.argument
@list_format_option
@pass_session
def tests(session: Session, name: str, style: str) -> None:
    """Show how the restore tests of the schedule NAME ended."""
    from cli.output import show_list
    from cli.tables.schedules import TESTS

    show_list(session.client.get(route("schedules", "backup", name, "tests")), style, TESTS)


def run_options(flag: Decorator[Any]) -> Decorator[Any]:
    return apply(
        click.option(
            "--email-report",
            "email_recipients",
            metavar="ADDRESSES",
            help="Further addresses for the report, separated by commas.",
        ),
        flag,
        click.option("-s", "--schedule", multiple=True, help="Only this schedule; may be repeated."),
        wait_option(),
        click.option("--cron", is_flag=True, help="Say nothing unless something fails."),
    )


@click.command()
@run_options(click.option("--force-full", is_flag=True, help="Make full backups, whatever the schedules say."))
@pass_session
def autobackup(session: Session, /, **options: Any) -> None:
    """Run the schedules of backups now, those that are enabled."""
    _run(session, "autobackup", **options)


@click.command()
@run_options(click.option("--email-errors-only", is_flag=True, help="Send a report only when something failed."))
@pass_session
def automirror(session: Session, /, **options: Any) -> None:
    """Run the schedules of mirrors now, those that are enabled."""
    _run(session, "automirror", **options)


def _run(session: Session, call: str, /, wait: bool, cron: bool, **options: Any) -> None:
    from cli.tasks import submit

    session.quiet, session.silent = session.quiet or cron, session.silent or cron
    submit(session, "POST", route("vm", call), body=body_of(options), wait=wait)


BACKUP = [*BACKUPS.commands(), preview, test, tests]
MIRROR = MIRRORS.commands()
TARGET = TARGETS.commands()
COMMANDS = [
    LazyGroup("backup", "Backups by schedule.", "cli.commands.schedule:BACKUP"),
    LazyGroup("mirror", "Mirrors by schedule.", "cli.commands.schedule:MIRROR"),
    LazyGroup("target", "Stores of backups, with their credentials.", "cli.commands.schedule:TARGET"),
]
