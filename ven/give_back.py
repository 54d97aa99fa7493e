"""`evenload ven restore`: give devices back by hand, where no gateway runs that would do it."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from bridges.connections import connect
from bridges.device import Outcome, Rank, State
from bridges.leases import LeaseManager
from core.clock import load_clock, system_clock
from core.errors import NotFoundError
from ven.devices import make_drivers
from ven.household import Household
from ven.state_files import StateFiles

_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class StillHeld:
    """Devices that were not given back: `silent` ones did not confirm, `unnamed` ones the household file has no more.

    Of an unnamed one the capability may be what the file, or its template, has no more.
    """

    silent: tuple[str, ...]
    unnamed: tuple[str, ...]


async def restore(household: Household, patience_s: float, on_outcome: Callable[[Outcome], None]) -> StillHeld:
    """Give back whatever events hold, and return the devices that are not back within so many seconds.

    Those stay in the journal, and the next gateway that knows them goes on with them. `on_outcome` hears of each that
    is back. Raises ConflictError if a gateway runs here: a clean stop of it does the same.
    """
    clock = load_clock(household.clock) if household.clock else system_clock()
    files = StateFiles(household.state)
    try:
        connections = {name: connect(options) for name, options in household.all_connections().items()}
        drivers = make_drivers(household, connections, clock)
        leases = LeaseManager(drivers, files.journal, clock, on_outcome)
        await leases.recover()
        tasks = [asyncio.create_task(work) for work in (leases.run(), *(each.run() for each in connections.values()))]
        try:
            for name, driver in drivers.items():
                await driver.start(lambda _: None, leases.listener(name))
            for lease in leases.held():
                with suppress(NotFoundError):
                    await leases.release(lease.command.id)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    while leases.held():  # noqa: ASYNC110  the manager tells of no end
                        await asyncio.sleep(_LOOK_S)
            silent = {lease.command.device for lease in leases.held()}
            named = {
                (name, capability.name)
                for name, driver in drivers.items()
                for capability in driver.describe().capabilities
            }
            commands = [entry.command for entry in files.journal.open()]
            unnamed = {each.device for each in commands if (each.device, each.capability) not in named}
            return StillHeld(tuple(sorted(silent)), tuple(sorted(unnamed)))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        files.close()


def is_back(outcome: Outcome) -> bool:
    """Tell whether a step means that a device is as it was."""
    return outcome.state in (State.RESTORED, State.OVERRIDDEN) and outcome.command.rank is not Rank.SAFETY
