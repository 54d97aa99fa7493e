"""The computation of what an event brought, in a process of its own: `python -m ven.assess`, a Job in, an Outcome out.

The gateway (`ven.assessor`) starts it and never imports it: numpy costs memory, and what is wrong with a reading or a
method ends here. It bounds itself, for the case that nobody is left to end it.
"""

import math
import os
import resource
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter

from core.errors import InvalidError, UnavailableError
from core.points import Quality
from core.spans import Span
from ven.assessment import HOW_TO_INSTALL, MOST_BYTES, MOST_INTERVALS, SECONDS, Interval, Job, OfResource, Outcome
from ven.readings_store import Ring
from ven.reports import Metered
from ven.series import Measured, edges, mean_power, measured
from ven.store import Store

if TYPE_CHECKING:
    from metrics import BaselineMethod

_MEMORY_BYTES: Final = 1024**3
_LOCALTIME: Final = Path("/etc/localtime")
_ZONEINFO: Final = "zoneinfo/"
_EXTRA_DAYS: Final = 2
"""As many days more than a method looks back at, for what lies before and around its days."""
_LONGEST_FAILURE: Final = 300


def bound_itself() -> None:
    """Bound time, memory and threads of this process."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.nice(10)
    signal.alarm(SECONDS)
    for what, most in (
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def main() -> None:
    """Read a Job, write an Outcome; never raises."""
    bound_itself()
    try:
        body = sys.stdin.buffer.read(MOST_BYTES + 1)
        if len(body) > MOST_BYTES:
            raise InvalidError("This is too much at once.")  # noqa: TRY301  said like all else that is wrong
        outcome = assess(TypeAdapter(Job).validate_json(body))
    except Exception as error:  # noqa: BLE001  whatever it is, this process is there to contain it
        outcome = Outcome(failure=f"{type(error).__name__}: {error}"[:_LONGEST_FAILURE])
    sys.stdout.buffer.write(TypeAdapter(Outcome).dump_json(outcome))


def assess(job: Job) -> Outcome:
    """Compute what an event brought at each resource. Raises InvalidError, UnavailableError."""
    method = chosen(job.baseline)
    step = timedelta(seconds=job.step_s)
    if (job.end - job.start) / step * max(1, len(job.resources)) > MOST_INTERVALS:
        raise InvalidError(f"An event of {job.end - job.start} is too long to be held against other days.")
    zone = job.time_zone or machine_zone()
    store = Store(job.store)
    try:
        ring = Ring(store, job.most_readings)
        found = tuple(_of_resource(ring, one, job, method, zone) for one in job.resources)
    finally:
        store.close()
    return Outcome(f"{method.id}/{method.version}", found)


def chosen(name: str) -> "BaselineMethod":
    """Return a baseline method by its id. Raises InvalidError, UnavailableError.

    One that rests on more than readings cannot be the gateway's: it knows of no other home, and of no agreement.
    """
    try:
        from metrics import PRESETS  # noqa: PLC0415  needs numpy, which may be missing
    except ModuleNotFoundError as error:
        raise UnavailableError(f"{error.name} is not installed; {HOW_TO_INSTALL} brings it.") from error
    method = PRESETS.get(name)
    if method is None:
        raise InvalidError(f"There is no baseline '{name}'; there are {', '.join(PRESETS)}.")
    if method.needs:
        raise InvalidError(
            f"'{name}' rests on more than a home's readings, of which only the VTN knows; choose another baseline for "
            "the gateway's own assessment."
        )
    return method


def _of_resource(ring: Ring, resource: Metered, job: Job, method: "BaselineMethod", zone: str) -> OfResource:
    """Return what an event brought at one resource; why not, where that is not known."""
    from metrics import Calendar, NoBaselineError, day_matrix, series  # noqa: PLC0415  as in `chosen`

    since = job.start - timedelta(days=method.lookback_days + _EXTRA_DAYS)
    until = job.end + timedelta(seconds=max(method.reach_s, job.step_s))
    used = net(ring, resource, since, until, job)
    readings = series(list(used), list(used.values()), job.step_s)
    others = tuple(Span(start, end) for start, end in job.others)
    try:
        matrix = day_matrix(readings, zone)
        found = method.baseline(matrix, Span(job.start, job.end), Calendar(others), notified_at=job.told_at)
    except NoBaselineError as error:
        return OfResource(resource.resource, note=str(error))
    here = found.in_event
    rows = zip(
        found.starts_s[here].tolist(), found.baseline_wh[here].tolist(), found.actual_wh[here].tolist(), strict=True
    )
    intervals = tuple(
        Interval(datetime.fromtimestamp(start_s, UTC), _known(baseline_wh), _known(actual_wh))
        for start_s, baseline_wh, actual_wh in rows
    )
    return OfResource(resource.resource, intervals, found.status.value)


def net(ring: Ring, resource: Metered, since: datetime, until: datetime, job: Job) -> dict[int, float]:
    """Return start (seconds since 1970) -> what a resource used in the steps of a time, its export taken off, Wh.

    The steps are those of the UTC clock. Energy over a gap is spread evenly, as the VTN does it.
    """
    first_s = int(since.timestamp()) // job.step_s * job.step_s
    taken = _energies(ring, resource.register, resource.power, first_s, until, job)
    if resource.export is None:
        return taken
    back = _energies(ring, resource.export, None, first_s, until, job)
    return {start_s: energy_wh - back[start_s] for start_s, energy_wh in taken.items() if start_s in back}


def _energies(
    ring: Ring, register: str | None, power: str | None, first_s: int, until: datetime, job: Job
) -> dict[int, float]:
    """Return the energy of each step that is known; a day is read at a time."""
    step, day = timedelta(seconds=job.step_s), timedelta(days=1)
    start, found = datetime.fromtimestamp(first_s, UTC), dict[int, float]()
    while start < until:
        end = min(start + day, _on_grid(until, job.step_s))
        if end <= start:
            break
        at = edges(start, end, step)
        values: Sequence[Measured] = ()
        if register:
            values = measured(ring.between(register, at[0], at[-1], around=True), at, step, job.connection_w)
        elif power:
            values = mean_power(ring.between(power, at[0], at[-1]), at, job.connection_w)
        for one in values:
            if one.quality is not Quality.UNCERTAIN:
                found |= _spread(one, job.step_s)
        start = end
    return found


def _spread(value: Measured, step_s: int) -> dict[int, float]:
    start_s, end_s = int(value.start.timestamp()), int(value.end.timestamp())
    count = (end_s - start_s) // step_s
    return {start_s + step_s * place: value.energy_wh / count for place in range(count)}


def _on_grid(when: datetime, step_s: int) -> datetime:
    return datetime.fromtimestamp(-(-when.timestamp() // step_s) * step_s, UTC)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def machine_zone() -> str:
    """Return the IANA name of this machine's time zone, UTC where it has none (as where TZ is a rule, not a name)."""
    names = [os.environ.get("TZ", "").lstrip(":")]
    with suppress(OSError):
        names.append(str(_LOCALTIME.readlink()).partition(_ZONEINFO)[2])
    return next((name for name in names if name and _is_zone(name)), "UTC")


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


if __name__ == "__main__":
    main()
