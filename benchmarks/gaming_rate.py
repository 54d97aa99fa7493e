"""How often homes that do nothing special are marked as odd before an event, and how often those that do are.

    python -m benchmarks.gaming_rate [--homes 300] [--json FILE]

On the population of `benchmarks.placebo_study`, at weekdays from 17:00 to 19:00 on which nothing was ordered: one in
four of ten months. Marked by chance are the homes as they are, before a reduction and before an increase. Seen are
those that use so much more in all of the hours before the event (`metrics.gaming`), on its day alone.

A season is ten of these days. `by chance`: any ten in a row, so weather comes and goes. `coldest`: the ten on which all
homes together lay highest above usual, as where events are called for the weather.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from multiprocessing import Pool
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.placebo_study import population
from core.spans import Span
from metrics import PRESETS, NoBaselineError, Series, day_matrix
from metrics.days import Floats
from metrics.gaming import LoadBefore, load_before, ramp, stands_out

_ROOT: Final = Path(__file__).parent.parent
_EVENT: Final = timedelta(hours=17), timedelta(hours=2)
_LOOKBACK_DAYS: Final = 300
_EVERY: Final = 4
_WORKING_DAYS: Final = 5
_SEASON: Final = 10
METHODS: Final = ("10of10", "high5of10", "20of20", "time-of-week")
RAISED_W: Final = (250.0, 500.0, 1000.0, 2000.0)


@dataclass(frozen=True)
class Row:
    """Of one method, shares in per cent of homes and days, or of homes and seasons of ten events.

    `raised`, `lowered`: marked by chance alone; `seen`: marked of those that use so many W more (`RAISED_W`).
    `systematic` and `seen_season`: the same of seasons. `coldest`: a season of the ten days on which all lay highest,
    and `coldest_raised` how many are marked on each of these.
    """

    method: str
    homes: int
    days: int
    raised_percent: float
    lowered_percent: float
    seen_percent: tuple[float, ...]
    systematic_percent: float
    coldest_percent: float
    coldest_raised_percent: float
    seen_season_percent: tuple[float, ...]


def of_home(readings: Series, preset: str) -> list[LoadBefore | None]:
    """Return how a home's load lay before events that nobody called, the latest first."""
    matrix, found = day_matrix(readings, "UTC"), []
    last = datetime.fromtimestamp(int(readings.starts_s[-1]), UTC).replace(hour=0, minute=0, second=0)
    days = [last - timedelta(days=number) for number in range(1, _LOOKBACK_DAYS)]
    for day in [one for one in days if one.weekday() < _WORKING_DAYS][::_EVERY]:
        event = Span(day + _EVENT[0], day + _EVENT[0] + _EVENT[1])
        try:
            found.append(load_before(matrix, event, PRESETS[preset].baseline(matrix, event)))
        except NoBaselineError:
            found.append(None)
    return found


def row_of(method: str, homes: Sequence[Sequence[LoadBefore | None]]) -> Row:
    """Return the shares of a population: of each home the same days."""
    seen = [[one for one in home if one is not None] for home in homes]
    every = [one for home in seen for one in home]
    excess = np.array([[np.nan if one is None else one.excess_w for one in home] for home in homes])
    coldest = np.argsort(-np.nan_to_num(np.nanmean(excess, axis=0), nan=-np.inf))[:_SEASON]
    seasons = [excess[:, first : first + _SEASON] for first in range(0, excess.shape[1] - _SEASON + 1, _SEASON)]
    return Row(
        method=method,
        homes=len(homes),
        days=excess.shape[1],
        raised_percent=_percent([stands_out(one) for one in every]),
        lowered_percent=_percent([stands_out(replace(one, excess_w=-one.excess_w)) for one in every]),
        seen_percent=tuple(_percent([stands_out(_more(one, more)) for one in every]) for more in RAISED_W),
        systematic_percent=_percent([flag for season in seasons for flag in _systematic(season)]),
        coldest_percent=_percent(_systematic(excess[:, coldest])),
        coldest_raised_percent=_percent([stands_out(home[day]) for home in homes for day in coldest if home[day]]),
        seen_season_percent=tuple(
            _percent([flag for season in seasons for flag in _systematic(season + more)]) for more in RAISED_W
        ),
    )


def _more(one: LoadBefore, more_w: float) -> LoadBefore:
    return replace(one, excess_w=one.excess_w + more_w)


def _systematic(excess: Floats) -> list[bool]:
    """Return of each home whether its excesses (homes, events) are systematic."""
    found = [
        ramp(len(own), float(own.sum()), float((own**2).sum())) for own in (row[np.isfinite(row)] for row in excess)
    ]
    return [one.is_systematic() for one in found if one is not None]


def _percent(flags: Sequence[bool]) -> float:
    return 100 * float(np.mean(flags)) if flags else float("nan")


def _of_home(work: tuple[Series, str]) -> list[LoadBefore | None]:
    return of_home(*work)


def run(homes: int) -> list[Row]:
    """Ask every method about the population."""
    everybody = list(population(homes))
    with Pool() as workers:
        return [
            row_of(method, workers.map(_of_home, [(one, method) for one in everybody], chunksize=4))
            for method in METHODS
        ]


def main() -> None:
    """Run, print the table, and write it beside what the file holds."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--homes", type=int, default=300)
    options.add_argument("--json", type=Path, default=_ROOT / "build" / "bench-metrics.json")
    chosen = options.parse_args()
    rows = run(chosen.homes)
    more = " | ".join(f"{watts:.0f} W" for watts in RAISED_W)
    print(f"| method | days | raised % | lowered % | seen: {more} | season % | {more} | coldest: one % | season % |")
    print("|" + "---|" * (7 + 2 * len(RAISED_W)))
    for row in rows:
        once = " | ".join(f"{share:.0f}" for share in row.seen_percent)
        season = " | ".join(f"{share:.0f}" for share in row.seen_season_percent)
        chance = f"{row.raised_percent:.1f} | {row.lowered_percent:.1f}"
        cold = f"{row.coldest_raised_percent:.1f} | {row.coldest_percent:.1f}"
        systematic = f"{row.systematic_percent:.1f}"
        print(f"| `{row.method}` | {row.days} | {chance} | {once} | {systematic} | {season} | {cold} |")
    chosen.json.parent.mkdir(exist_ok=True)
    kept = json.loads(chosen.json.read_text()) if chosen.json.exists() else {}
    chosen.json.write_text(json.dumps(kept | {"gaming": [asdict(row) for row in rows]}, indent=1))


if __name__ == "__main__":
    main()
