"""``pvc-lab``: a real cluster on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from lab import bmc as bmcs
from lab import certificates, clocks, disks, hosts, namespaces, network, power
from lab import cluster as plans
from lab import link as lines
from lab.bmc import Condition
from lab.cluster import NETWORKS, Cluster
from lab.context import check_host, check_running, exclusive, planning, with_cluster
from lab.errors import LabError
from lab.guest import build
from lab.progress import Progress
from lab.up import Startup, check_port
from lab.up import down as take_down


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--cluster", "name", default="demo", show_default=True, help="Which cluster; several can stand side by side."
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False, resolve_path=True),
    default=plans.DEFAULT_STATE,
    show_default=True,
    help="Where the clusters keep their files.",
)
@click.pass_context
def cli(context: click.Context, name: str, state: Path) -> None:
    """Builds a cluster of real parts on this machine, each node in namespaces of its own."""
    if os.geteuid() != 0:
        raise click.ClickException("pvc-lab makes namespaces and bridges, so it has to run as root")
    plans.check_name(name)
    context.obj = (name, state)


publish_option = click.option(
    "--publish", type=click.IntRange(1, 65535), help="Port of 127.0.0.1 for the API and the web page. [default: 7370]"
)
host_argument = click.argument("host")
networks_argument = click.argument("networks", nargs=-1, type=click.Choice(list(NETWORKS)))


@cli.command()
@click.option(
    "--profile",
    type=click.Choice(list(plans.NODES)),
    help="light: one of each service, on a host of its own; full: three of each, on the nodes. [default: light]",
)
@publish_option
@click.option("--clock", help="How far its clocks are ahead of this machine's, such as +1h or -90s. [default: not]")
@click.pass_obj
def up(options: tuple[str, Path], profile: plans.Profile | None, publish: int | None, clock: str | None) -> None:
    """Start the cluster, or what of it is not running, and wait until it is healthy."""
    try:
        ahead = None if clock is None else clocks.parse(clock)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    cluster = bring_up(*options, profile, publish, ahead)
    click.echo(f"""
Cluster {cluster.name} is healthy.
  web and API    http://127.0.0.1:{cluster.publish}/
  user           admin, with the password in {cluster.password_file}
  token          in {cluster.token_file}""")


def bring_up(
    name: str, state: Path, profile: plans.Profile | None, publish: int | None, clock: int | None = None
) -> Cluster:
    """The cluster ``name``, healthy. Raises LabError with what failed, and whether there is something to remove."""
    with exclusive(state, name):
        with planning(state):
            cluster = plans.load(name, state) or plans.plan(name, state, profile or "light", publish, clock or 0)
            if profile not in (None, cluster.profile):
                raise LabError(
                    f"cluster {name} is of the profile {cluster.profile}; take it down first, or choose another name"
                )
            if publish not in (None, cluster.publish):
                raise LabError(
                    f"cluster {name} is published on port {cluster.publish}; to change it, take it down first"
                )
            if clock not in (None, cluster.clock):
                raise LabError(f"the clocks of cluster {name} are {cluster.clock:+} s ahead; take it down first")
            check_port(cluster)
            plans.save(cluster)
        try:
            Startup(cluster).up()
        except LabError as error:
            raise LabError(f"{error}\nThe cluster is not healthy. pvc-lab down removes what there is of it.") from None
    return cluster


@cli.command()
@publish_option
@click.pass_obj
def demo(options: tuple[str, Path], publish: int | None) -> None:
    """Bring a light cluster up, and run the main job on it, showing each step. The cluster stays up."""
    from lab.demo import Demo, closing

    cluster = bring_up(*options, "light", publish)
    click.echo("\nThe main job:")
    Demo(cluster).run(Progress())
    click.echo(closing(cluster))


@cli.command()
@click.option("--all", "everything", is_flag=True, help="Take all clusters away.")
@click.pass_obj
def down(options: tuple[str, Path], everything: bool) -> None:
    """Take the cluster away, with all its data. Nothing is wrong when there is none."""
    name, state = options
    if not state.exists():
        return
    for cluster in plans.all_clusters(state):
        if everything or cluster.name == name:
            with exclusive(state, cluster.name), planning(state):
                take_down(cluster)
                (state / f"{cluster.name}.lock").unlink()
            click.echo(f"cluster {cluster.name} is gone")
    with planning(state):
        if not plans.all_clusters(state):
            for file in (*state.glob("*lock"), *state.glob("ca.*")):
                file.unlink(missing_ok=True)
            with suppress(OSError):  # it is not empty while a cluster elsewhere needs the directories noted in it
                state.rmdir()


@cli.command()
@with_cluster
def status(cluster: Cluster) -> None:
    """Show the hosts, their services, the cables that are cut, and the condition of the BMCs."""
    table = Table("host", "service", "state", "since", "networks cut")
    running = namespaces.running(cluster)
    for host in cluster.hosts:
        cut = ", ".join(network.cut_networks(cluster, host))
        if host not in running:
            lines = [("", "[red]off[/red]", "")]
        elif namespaces.is_paused(cluster, host):
            lines = [("", "[yellow]paused[/yellow]", "")]
        else:
            lines = _service_lines(cluster, host)
        for index, line in enumerate(lines):
            table.add_row(host if index == 0 else "", *line, cut if index == 0 else "")
    for node in cluster.bmcs:
        condition = bmcs.condition(cluster, node)
        colour = "green" if condition is Condition.OK else "red"
        table.add_row(f"BMC of {node}", "", f"[{colour}]{condition}[/{colour}]")
    Console().print(table)


def _service_lines(cluster: Cluster, host: str) -> list[tuple[str, str, str]]:
    """Name, state and seconds in it of each service of a host, as its supervisor reports them."""
    argv = namespaces.enter(cluster, host, ["sh", "-c", f"sv status {namespaces.SERVICES}/*"])
    output = subprocess.run(argv, capture_output=True, text=True).stdout  # it exits with the number of those down
    lines = []
    for line in output.splitlines():
        state, path, rest = line.split(": ", 2)
        words = rest.replace(",", "").split()  # without seconds as long as the host boots
        seconds = next((word for word in words if word.endswith("s") and word[:-1].isdigit()), "")
        colour = "green" if state == "run" else "red"
        lines.append((Path(path).name, f"[{colour}]{state}[/{colour}]", seconds.replace("s", " s")))
    return lines


@cli.command()
@host_argument
@click.option("--bmc", is_flag=True, help="The power of its BMC too, as when the supply fails.")
@with_cluster
def kill(cluster: Cluster, host: str, bmc: bool) -> None:
    """Take a host's power away: all its processes die at once, and its network with them."""
    check_running(cluster, host)
    if bmc:
        bmcs.check_node(cluster, host)
        bmcs.set_condition(cluster, host, Condition.DEAD)
    power.power_off(cluster, host)


@cli.command()
@host_argument
@with_cluster
def start(cluster: Cluster, host: str) -> None:
    """Give a killed host and its BMC their power back, and wait until the host's services answer."""
    check_host(cluster, host)
    with exclusive(cluster.state.parent, cluster.name):
        Startup(cluster).start(host)


@cli.command()
@host_argument
@with_cluster
def reset(cluster: Cluster, host: str) -> None:
    """Let a host's kernel panic: all its processes die at once, and it boots anew by itself, with the disk it had."""
    check_running(cluster, host)
    power.reset(cluster, host)


@cli.command()
@click.argument("node")
@click.argument("condition", type=click.Choice([word.value for word in Condition]))
@with_cluster
def bmc(cluster: Cluster, node: str, condition: str) -> None:
    """Bring a node's BMC into a condition: ok; cut: its cable is pulled out; hang: it takes packets and does not
    answer; lie: it takes the command to switch and does nothing; dead: it has no power."""
    bmcs.check_node(cluster, node)
    bmcs.set_condition(cluster, node, Condition(condition))


@cli.command()
@host_argument
@with_cluster
def pause(cluster: Cluster, host: str) -> None:
    """Stop every process of a host where it is, as when its operating system hangs; the network stays plugged in."""
    check_running(cluster, host)
    namespaces.pause(cluster, host)


@cli.command()
@host_argument
@with_cluster
def resume(cluster: Cluster, host: str) -> None:
    """Let a paused host go on where it was stopped."""
    check_running(cluster, host)
    namespaces.resume(cluster, host)


@cli.command()
@host_argument
@networks_argument
@with_cluster
def cut(cluster: Cluster, host: str, networks: tuple[str, ...]) -> None:
    """Pull a host's cables out: of the networks named, or of all. Those of the network bmc are two: that of the host
    and that of its BMC."""
    _set_cables(cluster, host, networks, up=False)


@cli.command()
@host_argument
@networks_argument
@with_cluster
def heal(cluster: Cluster, host: str, networks: tuple[str, ...]) -> None:
    """Plug a host's cables in again: of the networks named, or of all."""
    _set_cables(cluster, host, networks, up=True)


@cli.command()
@click.argument("one")
@click.argument("other")
@click.option("--cut", "cut", flag_value="cut", help="Pull it out: what is under way is lost.")
@click.option("--heal", "cut", flag_value="heal", help="Plug it in again.")
@click.option("--rate", help="What goes through in each direction, such as 10mbit; none: as much as can be.")
@click.option("--delay", help="How long a packet takes in each direction, such as 50ms; 0: as short as can be.")
@click.option("--down", is_flag=True, help="Take it away.")
@click.pass_obj
def link(
    options: tuple[str, Path], one: str, other: str, cut: str | None, rate: str | None, delay: str | None, down: bool
) -> None:
    """Lay a line between two clusters, or change the one that is there, and show how it is and where each is reached
    from the other. It goes with either cluster."""
    _, state = options
    try:
        bits = None if rate is None else lines.parse_rate(rate)
        seconds = None if delay is None else lines.parse_delay(delay)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with planning(state):
        line = lines.between(_existing(state, one), _existing(state, other))
        if down:
            line.down()
            return
        line.up()
        if bits is not None:
            line.set_rate(bits)
        if seconds is not None:
            line.set_delay(seconds)
        if cut is not None:
            line.set_cut(cut == "cut")
        _show_link(line)


def _existing(state: Path, name: str) -> Cluster:
    cluster = plans.load(name, state)
    if cluster is None:
        raise LabError(f"there is no cluster '{name}'; make it with: pvc-lab --cluster {name} up")
    return cluster


def _show_link(line: lines.Link) -> None:
    condition = line.condition()
    rate = f"{condition.rate / 1e6:g} Mbit/s" if condition.rate else "not limited"
    click.echo(
        f"The line {line.ends[0].name} - {line.ends[1].name} is {'cut' if condition.cut else 'whole'}; "
        f"rate {rate}, delay {1000 * condition.delay:g} ms each way"
    )
    for end in line.ends:
        click.echo(f"  {end.name:8} {hosts.https_address(end)}   token in {end.token_file}")
    click.echo(
        f"Their certificates are by {certificates.authority(line.ends[0].state.parent)}, which their nodes trust."
    )


@cli.group()
def disk() -> None:
    """Spare disks of nodes, on which OSDs can be made."""


@disk.command("add")
@click.argument("node")
@click.argument("size", metavar="GIB", type=click.IntRange(2, 4096))
@with_cluster
def add_disk(cluster: Cluster, node: str, size: int) -> None:
    """Give NODE one more empty disk of so many GiB, and print its path. It takes no more room than is written."""
    check_host(cluster, node)
    click.echo(disks.add(cluster, node, size << 30))


@disk.command("list")
@with_cluster
def list_disks(cluster: Cluster) -> None:
    """Show the disks of all nodes."""
    for device, file in disks.devices(cluster).items():
        click.echo(f"{file.parent.parent.name}  {device}  {file.stat().st_size >> 30} GiB")


def _set_cables(cluster: Cluster, host: str, networks: tuple[str, ...], *, up: bool) -> None:
    check_host(cluster, host)
    present = cluster.networks(host)
    if unknown := [name for name in networks if name not in present]:
        raise LabError(f"there is no network {unknown[0]} in cluster {cluster.name}; there are {', '.join(present)}")
    network.set_cables(cluster, host, networks or present, up=up)


@cli.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@host_argument
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@with_cluster
def shell(cluster: Cluster, host: str, command: tuple[str, ...]) -> None:
    """Run a command inside a host, or a shell."""
    check_host(cluster, host)
    argv = namespaces.enter(cluster, host, command or ("bash",))
    os.execvp(argv[0], argv)


@cli.command()
@host_argument
@click.argument("service", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on as lines are added.")
@click.option(
    "-n", "--lines", type=click.IntRange(0), default=50, show_default=True, help="How many lines to begin with."
)
@with_cluster
def logs(cluster: Cluster, host: str, service: str | None, follow: bool, lines: int) -> None:
    """Show what a host's services printed, or one of them."""
    check_host(cluster, host)
    known = sorted(path.stem for path in cluster.log(host, "any").parent.glob("*.log"))
    if service is not None and service not in known:
        raise LabError(f"there is no log of '{service}' on {host}; there are {', '.join(known) or 'none'}")
    files = [str(cluster.log(host, name)) for name in ([service] if service else known)]
    argv = ["tail", f"--lines={lines}", *(["--follow=name"] if follow else []), *files]
    os.execvp(argv[0], argv)


@cli.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
def guest(path: Path) -> None:
    """Build the laboratory's guest: a bootable disk image, written to PATH."""
    build(path)


def main() -> None:
    """Entry point of ``pvc-lab``; a LabError becomes one message and exit status 1."""
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit("stopped; pvc-lab down removes what was made")
    except LabError as error:
        click.secho("Error: ", fg="red", err=True, nl=False)
        click.echo(str(error), err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
