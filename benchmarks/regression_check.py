"""Our regression beside OpenDSM's hourly model, on the same meters and in the same run.

    python -m benchmarks.regression_check --python PYTHON

PYTHON has the package opendsm (1.2.7, Apache-2.0, with "multimethod<2"), in an environment of its own. The meters are
the three British homes of `examples/data` with their outdoor temperatures, a year of hours each. Every twelfth day is
held out of both models; CVRMSE is that of the hours held out. OpenDSM fits the year at once; ours is fitted anew for
each day held out, on like days up to 180 days before and after it, which weigh less the farther they are: as in the
baseline, but from both sides.
"""

import argparse
import csv
import gzip
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np

from metrics import Regression, rrmse
from metrics.days import Bools, Floats
from metrics.regression import fit

_ROOT: Final = Path(__file__).parent.parent
_DATA: Final = _ROOT / "examples" / "data"
_COLUMNS: Final = (
    ("uk-households-2013-halfhourly.csv.gz", "household_1_kwh", 2),
    ("uk-households-2013-halfhourly.csv.gz", "household_2_kwh", 2),
    ("uk-household-2021-hourly.csv.gz", "household_0_kwh", 1),
)
_EVERY: Final = 12
_OFFSET: Final = 5
_FAR_DAYS: Final = 180
_SATURDAY: Final = 5
_RULE: Final = Regression("check", 1, "", uses_temperature=True)


@dataclass(frozen=True)
class Row:
    """One meter: CVRMSE of the hours held out, in per cent, and seconds of fitting and predicting.

    None: OpenDSM has no model of it.
    """

    meter: str
    ours_cvrmse_percent: float
    opendsm_cvrmse_percent: float | None
    ratio: float | None
    ours_s: float
    opendsm_s: float


@dataclass(frozen=True, eq=False)
class Meter:
    """A year of hours, (days, 24) each."""

    name: str
    starts: list[str]
    energy_wh: Floats
    celsius: Floats


def meters() -> Iterator[Meter]:
    """Yield the homes, half hours added up to hours."""
    for file, column, per_hour in _COLUMNS:
        with gzip.open(_DATA / file, "rt", newline="") as text:
            rows = list(csv.DictReader(text))
        energy = np.array([float(row[column]) * 1000 if row[column] else np.nan for row in rows])
        starts = [row["start_utc"] for row in rows[::per_hour]]
        celsius = np.array([float(row["temperature_c"]) for row in rows[::per_hour]])
        yield Meter(column, starts, energy.reshape(-1, 24, per_hour).sum(axis=2), celsius.reshape(-1, 24))


def ours(meter: Meter, held: Bools) -> tuple[Floats, float]:
    """Return our load of the days held out, NaN elsewhere, and the seconds it took."""
    begun = time.perf_counter()
    days = np.arange(len(held))
    weekdays = (datetime.fromisoformat(meter.starts[0]).weekday() + days) % 7
    found = np.full(meter.energy_wh.shape, np.nan)
    for day in days[held]:
        like = (weekdays >= _SATURDAY) == (weekdays[day] >= _SATURDAY)
        used = np.flatnonzero(like & ~held & (abs(days - day) <= _FAR_DAYS))
        weights = 0.5 ** (abs(used - day) / _RULE.half_life_days)
        model = fit(meter.energy_wh[used], weekdays[used], meter.celsius[used], weights, _RULE.drawn)
        found[day] = model.at(np.full(24, weekdays[day]), np.arange(24), meter.celsius[day])
    return found, time.perf_counter() - begun


def theirs(meter: Meter, held: Bools, python: str) -> tuple[Floats | None, float]:
    """Return OpenDSM's load of the whole year (None: it has no model), and the seconds it took."""
    energy = np.where(held[:, None], np.nan, meter.energy_wh).ravel()
    known = [None if np.isnan(one) else one for one in energy.tolist()]
    work = json.dumps({"starts": meter.starts, "energy_wh": known, "celsius": meter.celsius.ravel().tolist()})
    script = _ROOT / "benchmarks" / "opendsm_hourly.py"
    done = subprocess.run([python, "-P", str(script)], input=work, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603  ours
    answer = json.loads(done.stdout)
    if answer["predicted_wh"] is None:
        return None, answer["seconds"]
    return np.array(answer["predicted_wh"], np.float64).reshape(meter.energy_wh.shape), answer["seconds"]


def compare(meter: Meter, python: str) -> Row:
    """Return the figures of one meter."""
    held = np.arange(len(meter.energy_wh)) % _EVERY == _OFFSET
    (mine, mine_s), (other, other_s) = ours(meter, held), theirs(meter, held, python)
    counts = held[:, None] & np.isfinite(mine)
    if other is None:
        return Row(meter.name, 100 * rrmse(meter.energy_wh[counts], mine[counts]), None, None, mine_s, other_s)
    counts &= np.isfinite(other)
    actual = meter.energy_wh[counts]
    errors = rrmse(actual, mine[counts]), rrmse(actual, other[counts])
    return Row(meter.name, 100 * errors[0], 100 * errors[1], errors[0] / errors[1], mine_s, other_s)


def main() -> None:
    """Run, print the table, and write it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--python", required=True)
    options.add_argument("--json", type=Path, default=_ROOT / "build" / "bench-metrics.json")
    chosen = options.parse_args()
    rows = [compare(meter, chosen.python) for meter in meters()]
    print("| meter | ours, CVRMSE % | OpenDSM, CVRMSE % | ratio | ours, s | OpenDSM, s |\n" + "|---" * 6 + "|")
    for row in rows:
        both = "no model | -"
        if row.opendsm_cvrmse_percent is not None:
            both = f"{row.opendsm_cvrmse_percent:.1f} | {row.ratio:.3f}"
        errors = f"{row.ours_cvrmse_percent:.1f} | {both}"
        print(f"| {row.meter} | {errors} | {row.ours_s:.2f} | {row.opendsm_s:.2f} |")
    chosen.json.parent.mkdir(exist_ok=True)
    kept = json.loads(chosen.json.read_text()) if chosen.json.exists() else {}
    kept |= {"regression_vs_opendsm": [asdict(row) for row in rows]}
    chosen.json.write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
