"""What the baselines of all VENs of a dispatch have in common: a control group's load, a nomination for all of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from metrics.control import Control
from metrics.days import Series
from metrics.method import BaselineMethod, Calendar
from metrics.needs import Need
from metrics.nominated import Nominated
from vtn.services import control_group, nominated
from vtn.services.dispatch import Dispatch
from vtn.services.programme import Programme
from vtn.store.database import Connection


@dataclass(frozen=True, slots=True, eq=False)
class CommonBasis:
    """Fields of `metrics.method.Calendar` that are the same for all VENs; None: not there, or not asked for."""

    control: Control | None = None
    nominated: Series | None = None

    def into(self, calendars: Mapping[str, Calendar]) -> dict[str, Calendar]:
        """Return calendars that know of it."""
        return {
            ven_id: replace(calendar, control=self.control, nominated=self.nominated)
            for ven_id, calendar in calendars.items()
        }

    def parts(self) -> Iterator[bytes]:
        """Yield everything that decides a result, to be hashed once for all VENs."""
        if self.control is not None:
            days = self.control.series
            yield repr(("control group", days.step_s, days.starts_s[:1].tolist())).encode()
            yield days.energy_wh.tobytes()
            yield self.control.homes.tobytes()
        if self.nominated is not None:
            yield repr(("nominated", self.nominated.step_s, self.nominated.starts_s[:1].tolist())).encode()
            yield self.nominated.energy_wh.tobytes()


async def of_dispatch(conn: Connection, rules: Programme, method: BaselineMethod, dispatch: Dispatch) -> CommonBasis:
    """Return what a method asks for a dispatch whose event has an end."""
    control = await control_group.of_event(conn, rules, dispatch.span) if Need.CONTROL in method.needs else None
    share = await nominated.on_top(conn, rules, method, dispatch) if isinstance(method, Nominated) else None
    return CommonBasis(control, share)
