"""The demo's constants: one plan, from which every number of a run follows."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from core.errors import InvalidError
from evenload.demo.model import make_home

MAX_HOMES: Final = 1000
NEWCOMER: Final = 3
"""The home without a past in a demo that has homes enough to spare."""
ENOUGH_HOMES: Final = 8


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What the demo does. Two runs with equal plans meet the same homes, whatever the wall clock says.

    `world_start` is a Wednesday of the 2013 data, with British winter time (UTC) throughout the history before it.
    `order_w` is what is asked of each home (consume less by that much) for `event_duration`: by a plain dispatch, or
    in the sum by the BRP. `baseline` is the programme's preset, the one that errs least on these homes' days without
    events. `opt_out` is the index (from 1) of a home whose household file opts out of everything. The gateways of the
    last `alone` homes have a process each: one of them can fall silent. Some five homes are called,
    so that with eight of twelve there is always one. `newcomer` is the index of a home that joins without a past: its
    meter remembers nothing. How the figures were chosen stands in `docs/explanation/demo.md`.
    """

    seed: int = 1
    homes: int = 12
    world_start: datetime = datetime(2013, 11, 20, 16, 30, tzinfo=UTC)
    history_days: int = 20
    order_w: float = 1600.0
    event_duration: timedelta = timedelta(minutes=90)
    market_context: str = "http://evenload.example/programmes/evening-peak"
    baseline: str = "10of10-unadjusted"
    opt_out: int | None = None
    newcomer: int | None = None
    alone: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.homes <= MAX_HOMES:
            raise InvalidError(f"The demo has 1 to {MAX_HOMES} homes, not {self.homes}.")

    @property
    def register_start(self) -> datetime:
        """When the homes' registers begin to count: midnight UTC, a day before the history that the VTN asks for."""
        midnight = self.world_start.replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight - timedelta(days=self.history_days + 1)

    @property
    def newcomer_name(self) -> str | None:
        """The newcomer's name, and its VEN's; None: there is none."""
        return None if self.newcomer is None else make_home(self.seed, self.newcomer).id

    @property
    def opt_out_name(self) -> str | None:
        """The name of the home that opts out of everything, and its VEN's; None: there is none."""
        return None if self.opt_out is None else make_home(self.seed, self.opt_out).id

    @property
    def ordered_wh(self) -> float:
        """The energy that the dispatch asks of all homes together."""
        return self.order_w * self.homes * (self.event_duration / timedelta(hours=1))
