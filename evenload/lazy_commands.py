"""The commands that are imported when somebody names them: a process then loads what it runs, and no more."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_group

_SHELF: Final[Mapping[str, tuple[str, str]]] = {
    "fleet": ("evenload.fleet", "fleet"),
    "group": ("evenload.fleet", "group"),
    "programme": ("evenload.operate", "programme"),
    "event": ("evenload.operate", "event"),
    "report": ("evenload.reports", "report"),
    "status": ("evenload.operate", "desk"),
    "audit": ("evenload.operate", "desk"),
    "market": ("evenload.market", "market"),
    "brp": ("evenload.brp", "brp"),
    "tariff": ("evenload.tariff", "tariff"),
    "certs": ("certs.cli", "app"),
    "ven": ("ven.cli", "app"),
    "explain": ("ven.cli", "lone"),
    "devices": ("ven.cli", "lone"),
}
"""Where each lies: a group in a module, or a command of that name in such a group."""


class Shelf(TyperGroup):
    """A group that also has the commands of the shelf."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands, those at hand first."""
        return [*(name for name in super().list_commands(ctx) if name not in _SHELF), *_SHELF]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, fetched from the shelf if need be; None if there is none of that name."""
        if cmd_name in _SHELF and cmd_name not in self.commands:
            place, attribute = _SHELF[cmd_name]
            holder = typer.Typer()
            holder.add_typer(getattr(import_module(place), attribute), name=cmd_name)
            group = get_group(holder).commands[cmd_name]
            single = group.commands.get(cmd_name) if isinstance(group, TyperGroup) else None
            self.commands[cmd_name] = single or group
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find what is called; what there is not is held against the names of all, so that the error can guess."""
        if args and args[0] not in self.list_commands(ctx):
            for name in _SHELF:
                self.get_command(ctx, name)
        return super().resolve_command(ctx, args)
