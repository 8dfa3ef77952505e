"""``pvc vm``: how a machine is described, named, tagged, and done away with."""

from __future__ import annotations

from typing import IO, Any

import click

from cli.errors import CliError
from cli.options import body_of, complete_node, domain_argument, format_option, meta_options, wait_option, yes_option
from cli.routes import route
from cli.session import Session, pass_session


@click.command()
@click.argument("vmconfig", type=click.File())
@click.option(
    "-t", "--target", "node", shell_complete=complete_node, help="Node to assign it to; chosen when not given."
)
@meta_options
@click.option("-g", "--tag", "user_tags", multiple=True, help="Tag; may be repeated.")
@click.option(
    "-G", "--protected-tag", "protected_tags", multiple=True, help="Tag that cannot be removed; may be repeated."
)
@wait_option()
@pass_session
def define(session: Session, /, vmconfig: IO[str], wait: bool, **options: Any) -> None:
    """Define a machine from the libvirt XML in VMCONFIG.

    VMCONFIG is a file, or - for standard input. The machine is not started.
    """
    from cli.domain_xml import Domain
    from cli.tasks import submit

    xml = vmconfig.read()
    Domain(xml)
    submit(session, "POST", route("vm"), body={"xml": xml, **body_of(options)}, wait=wait)


@click.command()
@domain_argument
@meta_options
@click.option("-p", "--profile", help="Provisioner profile it counts to.")
@wait_option()
@pass_session
def meta(session: Session, /, domain: str, wait: bool, **options: Any) -> None:
    """Change where and how the machine DOMAIN may run. What is not given stays."""
    from cli.tasks import submit

    body = body_of(options)
    if all(value is None for value in body.values()):
        raise click.UsageError("Give at least one thing to change.")
    submit(session, "POST", route("vm", domain, "meta"), body=body, wait=wait)


@click.command()
@domain_argument
@click.argument("cfgfile", type=click.File(), required=False)
@click.option("-e", "--editor", is_flag=True, help="Edit the present description in $EDITOR.")
@click.option("-r", "--restart", is_flag=True, help="Restart it so that the change takes effect.")
@click.option("-d", "--confirm-diff", is_flag=True, help="Do not ask whether the difference is right.")
@click.option("-c", "--confirm-restart", is_flag=True, help="Do not ask whether to restart.")
@yes_option
@wait_option()
@pass_session
def modify(
    session: Session,
    domain: str,
    cfgfile: IO[str] | None,
    editor: bool,
    restart: bool,
    confirm_diff: bool,
    confirm_restart: bool,
    yes: bool,
    wait: bool,
) -> None:
    """Replace or edit the libvirt XML of the machine DOMAIN.

    CFGFILE is a file with the new XML, or - for standard input. The difference is shown, and applied when you agree.
    """
    from cli import machines
    from cli.domain_xml import Domain

    if (cfgfile is None) == (not editor):
        raise click.UsageError("Give either CFGFILE or --editor.")
    vm = machines.fetch(session, domain)
    if cfgfile is None:
        xml = _edited(vm["xml"])
    else:
        xml = cfgfile.read()
        Domain(xml)
    difference = _difference(vm["xml"], xml)
    if not difference:
        session.say("Nothing differs, so nothing was changed.")
        return
    if not session.silent:
        click.echo("\n".join(difference))
    session.confirm(f"Change {vm['name']} like this?", yes or confirm_diff)
    restart = machines.decide_restart(session, vm, restart, yes or confirm_restart)
    machines.store(session, vm, xml, restart=restart, wait=wait)


def _edited(xml: str) -> str:
    """What the person makes of ``xml`` in the editor; asked again while it is not well formed."""
    from cli.domain_xml import Domain

    text = xml
    while True:
        text = click.edit(text, extension=".xml") or text
        try:
            Domain(text)
            return text
        except CliError as error:
            click.echo(f"Error: {error.message}", err=True)
            click.confirm("Edit it again?", default=True, abort=True, err=True)


def _difference(before: str, after: str) -> list[str]:
    """A unified diff with colours; empty when both are the same."""
    from difflib import unified_diff

    colours = {"+": "green", "-": "red", "@": "cyan"}
    lines = unified_diff(
        before.strip().splitlines(), after.strip().splitlines(), "present", "changed", n=2, lineterm=""
    )
    return [click.style(line, fg=colours[line[0]]) if line[0] in colours else line for line in lines]


@click.command()
@domain_argument
@click.argument("new_name")
@yes_option
@wait_option()
@pass_session
def rename(session: Session, domain: str, new_name: str, yes: bool, wait: bool) -> None:
    """Rename the stopped machine DOMAIN to NEW_NAME."""
    from cli.tasks import submit

    session.confirm(f"Rename {domain} to {new_name}?", yes)
    submit(session, "POST", route("vm", domain, "rename"), body={"new_name": new_name}, wait=wait)


@click.command()
@domain_argument
@yes_option
@wait_option()
@pass_session
def undefine(session: Session, domain: str, yes: bool, wait: bool) -> None:
    """Stop the machine DOMAIN and remove its definition. Its disks stay."""
    from cli.tasks import submit

    session.confirm(f"Stop and undefine {domain}? Its disks stay.", yes)
    submit(session, "DELETE", route("vm", domain), query={"delete_disks": False}, wait=wait)


@click.command()
@domain_argument
@yes_option
@wait_option()
@pass_session
def remove(session: Session, domain: str, yes: bool, wait: bool) -> None:
    """Stop the machine DOMAIN and remove it with all its disks."""
    from cli.tasks import submit

    session.confirm(f"Stop and remove {domain} with all its disks, for good?", yes)
    submit(session, "DELETE", route("vm", domain), query={"delete_disks": True}, wait=wait)


@click.command()
@domain_argument
@click.option(
    "-f",
    "--file",
    "target",
    type=click.File("w", lazy=True),
    default="-",
    help="File to write; standard output if none.",
)
@pass_session
def dump(session: Session, domain: str, target: IO[str]) -> None:
    """Write the libvirt XML of the machine DOMAIN."""
    click.echo(session.client.get(route("vm", domain))["xml"].rstrip("\n"), file=target)


@click.command("get")
@domain_argument
@format_option("pretty", "raw", "json", "json-pretty")
@pass_session
def get_tags(session: Session, domain: str, style: str) -> None:
    """Show the tags of the machine DOMAIN."""
    from cli.output import show_list
    from cli.tables.vms import TAGS

    document = session.client.get(route("vm", domain, "tags"))
    show_list(document["tags"], style, TAGS, document)


@click.command("add")
@domain_argument
@click.argument("tag")
@click.option("-p", "--protected", is_flag=True, help="It cannot be removed again.")
@wait_option()
@pass_session
def add_tag(session: Session, domain: str, tag: str, protected: bool, wait: bool) -> None:
    """Give the machine DOMAIN the tag TAG."""
    from cli.tasks import submit

    body = {"action": "add", "tag": tag, "protected": protected}
    submit(session, "POST", route("vm", domain, "tags"), body=body, wait=wait)


@click.command("remove")
@domain_argument
@click.argument("tag")
@wait_option()
@pass_session
def remove_tag(session: Session, domain: str, tag: str, wait: bool) -> None:
    """Take the tag TAG from the machine DOMAIN."""
    from cli.tasks import submit

    submit(session, "POST", route("vm", domain, "tags"), body={"action": "remove", "tag": tag}, wait=wait)


TAG = [add_tag, get_tags, remove_tag]
DEFINITION = [define, dump, meta, modify, remove, rename, undefine]
