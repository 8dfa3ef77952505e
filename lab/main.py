"""``pvc-lab``: a real cluster on this machine."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import update_wrapper
from pathlib import Path
from typing import Any, TextIO

import click
from rich.console import Console
from rich.table import Table

from lab import cluster as plans
from lab import namespaces, network
from lab.cluster import NETWORKS, Cluster
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


def with_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """Pass a command the cluster that the options name, and refuse when there is none."""

    @click.pass_context
    def wrapped(context: click.Context, /, **arguments: Any) -> None:
        name, state = context.obj
        cluster = plans.load(name, state)
        if cluster is None:
            raise click.ClickException(f"there is no cluster '{name}'; make it with: pvc-lab --cluster {name} up")
        command(cluster, **arguments)

    return update_wrapper(wrapped, command)


@contextmanager
def exclusive(state: Path, name: str) -> Iterator[None]:
    """Let one command at a time change a cluster. Raises LabError when another one does."""
    with _lock(state, f"{name}.lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError(f"another pvc-lab command is at work on cluster {name}; wait until it has ended") from None
        yield


@contextmanager
def planning(state: Path) -> Iterator[None]:
    """Wait for a turn at planning or removing clusters, so that no two take the same subnets."""
    with _lock(state, "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _lock(state: Path, name: str) -> TextIO:
    state.mkdir(parents=True, exist_ok=True)
    return (state / name).open("w")


def check_host(cluster: Cluster, host: str) -> None:
    if host not in cluster.hosts:
        raise LabError(f"there is no host '{host}' in cluster {cluster.name}; there are {', '.join(cluster.hosts)}")


publish_option = click.option(
    "--publish", type=click.IntRange(1, 65535), help="Port of 127.0.0.1 for the API and the web page. [default: 7370]"
)


@cli.command()
@click.option(
    "--profile",
    type=click.Choice(list(plans.NODES)),
    default="light",
    show_default=True,
    help="light: one of each service.",
)
@publish_option
@click.pass_obj
def up(options: tuple[str, Path], profile: plans.Profile, publish: int | None) -> None:
    """Start the cluster, or what of it is not running, and wait until it is healthy."""
    cluster = bring_up(*options, profile, publish)
    click.echo(f"""
Cluster {cluster.name} is healthy.
  web and API    http://127.0.0.1:{cluster.publish}/
  user           admin, with the password in {cluster.password_file}
  token          in {cluster.token_file}""")


def bring_up(name: str, state: Path, profile: plans.Profile, publish: int | None) -> Cluster:
    """The cluster ``name``, healthy. Raises LabError with what failed, and whether there is something to remove."""
    with exclusive(state, name):
        with planning(state):
            cluster = plans.load(name, state) or plans.plan(name, state, profile, publish)
            if publish not in (None, cluster.publish):
                raise LabError(
                    f"cluster {name} is published on port {cluster.publish}; to change it, take it down first"
                )
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
            for lock in state.glob("*lock"):
                lock.unlink()
            with suppress(OSError):  # it is not empty while a cluster elsewhere needs the directories noted in it
                state.rmdir()


@cli.command()
@with_cluster
def status(cluster: Cluster) -> None:
    """Show the hosts, their services, and the cables that are cut."""
    table = Table("host", "service", "state", "since", "networks cut")
    running = namespaces.running(cluster)
    for host in cluster.hosts:
        if host not in running:
            table.add_row(host, "", "[red]off[/red]")
            continue
        cut = ", ".join(network.cut_networks(cluster, host))
        for index, line in enumerate(_service_lines(cluster, host)):
            table.add_row(host if index == 0 else "", *line, cut if index == 0 else "")
    Console().print(table)


def _service_lines(cluster: Cluster, host: str) -> list[tuple[str, str, str]]:
    """Name, state and seconds in it of each service of a host, as its supervisor reports them."""
    argv = namespaces.enter(cluster, host, ["sh", "-c", f"sv status {namespaces.SERVICES}/*"])
    output = subprocess.run(argv, capture_output=True, text=True).stdout  # it exits with the number of those down
    lines = []
    for line in output.splitlines():
        state, path, rest = line.split(": ", 2)
        seconds = next(word for word in rest.replace(",", "").split() if word.endswith("s") and word[:-1].isdigit())
        colour = "green" if state == "run" else "red"
        lines.append((Path(path).name, f"[{colour}]{state}[/{colour}]", seconds.replace("s", " s")))
    return lines


@cli.command()
@click.argument("host")
@with_cluster
def kill(cluster: Cluster, host: str) -> None:
    """Take a host's power away: all its processes die at once, and its network with them."""
    check_host(cluster, host)
    if host not in namespaces.running(cluster):
        raise LabError(f"{host} is off already")
    namespaces.kill(cluster, host)


@cli.command()
@click.argument("host")
@with_cluster
def start(cluster: Cluster, host: str) -> None:
    """Give a killed host its power back, and wait until its services answer."""
    check_host(cluster, host)
    with exclusive(cluster.state.parent, cluster.name):
        Startup(cluster).start(host)


@cli.command()
@click.argument("host")
@click.argument("networks", nargs=-1, type=click.Choice(list(NETWORKS)))
@with_cluster
def cut(cluster: Cluster, host: str, networks: tuple[str, ...]) -> None:
    """Pull a host's cables out: of the networks named, or of all."""
    check_host(cluster, host)
    network.set_cables(cluster, host, networks or tuple(NETWORKS), up=False)


@cli.command()
@click.argument("host")
@click.argument("networks", nargs=-1, type=click.Choice(list(NETWORKS)))
@with_cluster
def heal(cluster: Cluster, host: str, networks: tuple[str, ...]) -> None:
    """Plug a host's cables in again: of the networks named, or of all."""
    check_host(cluster, host)
    network.set_cables(cluster, host, networks or tuple(NETWORKS), up=True)


@cli.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("host")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@with_cluster
def shell(cluster: Cluster, host: str, command: tuple[str, ...]) -> None:
    """Run a command inside a host, or a shell."""
    check_host(cluster, host)
    argv = namespaces.enter(cluster, host, command or ("bash",))
    os.execvp(argv[0], argv)


@cli.command()
@click.argument("host")
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
