"""Groups of commands that are imported when one of them is used or listed."""

from __future__ import annotations

from importlib import import_module

import click


class LazyGroup(click.Group):
    """A group whose commands are the list ``source`` (``package.module:LIST``), imported on first use.

    The group itself is made where it is hung up, so the help of its parent shows it without importing anything.
    """

    def __init__(self, name: str, help: str, source: str) -> None:
        super().__init__(name=name, help=help, no_args_is_help=True)
        self.source = source

    def _load(self) -> None:
        if not self.commands:
            module, _, attribute = self.source.partition(":")
            for command in getattr(import_module(module), attribute):
                self.add_command(command)

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._load()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        self._load()
        return super().get_command(ctx, cmd_name)
