"""The commands that are imported when somebody names them: a process then loads what it runs, and no more."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """A command that lies in another module: a group, or a command of its own name in such a group.

    `help` is the line that the list of commands has, so that nothing is imported for it.
    """

    module: str
    attribute: str
    help: str


LAZY_COMMANDS: Final[Mapping[str, LazyCommand]] = {
    "fleet": LazyCommand("evenload.fleet", "fleet", "The VENs of a VTN."),
    "group": LazyCommand("evenload.fleet", "group", "Groups of VENs."),
    "programme": LazyCommand("evenload.operate", "programme", "Programmes and enrolments."),
    "holiday": LazyCommand("evenload.days", "holiday", "Holidays of programmes: days held against weekends."),
    "outage": LazyCommand("evenload.days", "outage", "Outages: times that make no baseline and have no result."),
    "temperature": LazyCommand(
        "evenload.temperatures", "temperature", "Outdoor temperatures, for baselines that follow the weather."
    ),
    "event": LazyCommand("evenload.operate", "event", "Dispatches, their events and results."),
    "report": LazyCommand("evenload.reports", "report", "Reports and readings."),
    "status": LazyCommand(
        "evenload.operate", "desk", "Show the state of the VTN: its time, its outbox and undelivered messages."
    ),
    "audit": LazyCommand("evenload.operate", "desk", "List the latest changes: who did what."),
    "market": LazyCommand("evenload.market", "market", "BRPs, contracts, and what is sold to them."),
    "brp": LazyCommand("evenload.brp", "brp", "Buy flexibility as a balance responsible party."),
    "tariff": LazyCommand("evenload.tariff", "tariff", "Network and electricity tariffs and their prices."),
    "certs": LazyCommand("certs.cli", "app", "The certificate authority: issue, renew and revoke certificates."),
    "conform": LazyCommand("conformance.cli", "app", "Test a VTN or a VEN against the rules of OpenADR 2.0b."),
    "ven": LazyCommand("ven.cli", "app", "The gateway: connects a household's devices to a VTN."),
    "explain": LazyCommand(
        "ven.cli", "lone", "Show what an event would do in a household, and when. Touches no device."
    ),
    "devices": LazyCommand(
        "ven.cli",
        "lone",
        "List the drivers and templates that a household file may name; exit with 1 if one of them is no good.",
    ),
}


class LazyGroup(TyperGroup):
    """A group that also has the lazy commands."""

    _is_listing = False

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands, those at hand first."""
        return [*(name for name in super().list_commands(ctx) if name not in LAZY_COMMANDS), *LAZY_COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, imported if need be; None if there is none of that name."""
        if cmd_name in LAZY_COMMANDS and cmd_name not in self.commands:
            if self._is_listing:
                return TyperCommand(cmd_name, help=LAZY_COMMANDS[cmd_name].help)
            self.commands[cmd_name] = load(cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help; for the list of commands none is imported."""
        self._is_listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._is_listing = False

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find what is called; what there is not is held against the names of all, so that the error can guess."""
        if args and args[0] not in self.list_commands(ctx):
            for name in LAZY_COMMANDS:
                self.get_command(ctx, name)
        return super().resolve_command(ctx, args)


def load(name: str) -> Any:
    """Import a lazy command and return it."""
    lazy = LAZY_COMMANDS[name]
    holder = typer.Typer()
    holder.add_typer(getattr(import_module(lazy.module), lazy.attribute), name=name)
    group = get_group(holder).commands[name]
    single = group.commands.get(name) if isinstance(group, TyperGroup) else None
    return single or group
