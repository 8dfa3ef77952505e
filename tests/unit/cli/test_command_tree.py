"""The commands are those of ``commands.txt``, and the help of each explains all it takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cli.main import main

LINES = [line for line in (Path(__file__).parent / "commands.txt").read_text().splitlines() if not line.startswith("#")]


def _walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _walk(child, (*path, name))
    else:
        yield " ".join(path), command


def _described(command: click.Command) -> set[str]:
    """The parameters in the notation of ``commands.txt``."""
    found = set()
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            found.add(f"<{parameter.name}>" if parameter.required else f"[{parameter.name}]")
            continue
        assert isinstance(parameter, click.Option)
        spelt = "/".join(sorted([*parameter.opts, *parameter.secondary_opts]))
        if isinstance(parameter.type, click.Choice):
            spelt += "={" + "|".join(parameter.type.choices) + "}"
        found.add(spelt + "*" * parameter.multiple + "!" * parameter.required)
    return found


def _expected(words: list[str]) -> set[str]:
    found = set()
    for word in words:
        if word[0] in "<[":
            found.add(word)
            continue
        match = re.fullmatch(r"([^={*!]+)(={.*})?([*!]*)", word)
        assert match
        found.add("/".join(sorted(match[1].split("/"))) + (match[2] or "") + match[3])
    return found


COMMANDS = dict(_walk(main))


def test_there_are_exactly_the_documented_commands() -> None:
    assert sorted(COMMANDS) == sorted(re.split(r"  +", line)[0] for line in LINES)


@pytest.mark.parametrize("line", LINES, ids=lambda line: re.split(r"  +", line)[0])
def test_command_takes_the_documented_parameters_and_its_help_names_them(line: str) -> None:
    name, *words = re.split(r"  +", line)
    command = COMMANDS[name]
    assert _described(command) == _expected(words)

    text = command.get_help(click.Context(command, info_name=name))
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.opts} is not explained"
            for spelling in (*parameter.opts, *parameter.secondary_opts):
                assert re.search(rf"(?<![\w-]){re.escape(spelling)}(?![\w-])", text), spelling
        else:
            assert (parameter.metavar or str(parameter.name).upper()) in text


@pytest.mark.parametrize("name", [(), *sorted({tuple(n.split()[:i]) for n in COMMANDS for i in range(1, 4)})])
def test_help_is_shown_for_every_group_and_command_without_a_connection(name: tuple[str, ...], pvc) -> None:
    result = pvc(*name, "--help")
    assert result.exit_code == 0
    assert result.output.startswith("Usage: pvc")


def test_every_line_of_a_group_fits_a_terminal_of_80_columns() -> None:
    for name, command in COMMANDS.items():
        assert not command.get_short_help_str(63).endswith("..."), name
