"""The real meter series under the demo's homes (`examples/data/`): whole days of 48 half-hour energies."""

import csv
import gzip
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from core.errors import InvalidError, NotFoundError

DATA_ENV = "EVENLOAD_DEMO_DATA"
"""Environment variable that names the folder of the data files, where it is not `examples/data` of the checkout."""

HALF_HOURS = 48
_HALF_HOURLY = "uk-households-2013-halfhourly.csv.gz"
_HOURLY = "uk-household-2021-hourly.csv.gz"

Day = tuple[float, ...]
"""48 half-hour energies in Wh; the first half hour begins at 00:00 UTC."""


@dataclass(frozen=True, slots=True)
class Series:
    """One real home: every complete UTC day of it. Days with a missing value are not in it."""

    name: str
    days: Mapping[date, Day]


def data_dir(override: Path | None = None) -> Path:
    """Return the folder of the data files: `override`, else $EVENLOAD_DEMO_DATA, else `examples/data` of the checkout.

    Raises NotFoundError, saying what to do, if the files are not there.
    """
    named = override or (Path(os.environ[DATA_ENV]) if os.environ.get(DATA_ENV) else None)
    folder = named or Path(__file__).resolve().parents[2] / "examples" / "data"
    missing = [name for name in (_HALF_HOURLY, _HOURLY) if not (folder / name).is_file()]
    if missing:
        raise NotFoundError(
            f"The demo's meter data is not in {folder} (missing: {', '.join(missing)}). Run the demo from a checkout "
            f"of evenload, or set {DATA_ENV} to the folder that holds these files."
        )
    return folder


def load_series(folder: Path) -> tuple[Series, Series, Series]:
    """Read household 1, household 2 (half-hourly, 2013) and household 0 (2021; each hour split into two equal halves).

    Raises InvalidError for a file that cannot be read as such a table.
    """
    half_hourly, hourly = folder / _HALF_HOURLY, folder / _HOURLY
    return (
        _read(half_hourly, "household_1_kwh", timedelta(minutes=30)),
        _read(half_hourly, "household_2_kwh", timedelta(minutes=30)),
        _read(hourly, "household_0_kwh", timedelta(hours=1)),
    )


def _read(path: Path, column: str, step: timedelta) -> Series:
    share = int(step / timedelta(minutes=30))
    found: dict[date, dict[int, float]] = {}
    try:
        with gzip.open(path, "rt", encoding="ascii", newline="") as file:
            for row in csv.DictReader(file):
                if row[column]:
                    start = datetime.fromisoformat(row["start_utc"])
                    slot = start.hour * 2 + start.minute // 30
                    # Wh with one decimal: what the files' three decimals of kWh hold, halved where an hour is split.
                    energy_wh = round(float(row[column]) * 1000 / share, 1)
                    found.setdefault(start.date(), {}).update(dict.fromkeys(range(slot, slot + share), energy_wh))
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InvalidError(f"{path}: not the expected table of half-hourly or hourly kWh: {error}") from error
    days = {day: tuple(slots[i] for i in range(HALF_HOURS)) for day, slots in found.items() if len(slots) == HALF_HOURS}
    return Series(column.removesuffix("_kwh"), MappingProxyType(days))
