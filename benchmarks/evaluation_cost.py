"""What an evaluation costs, from readings to the stored result, for 1,000 to 100,000 VENs.

    python -m benchmarks.evaluation_cost [--vens 1000,10000,100000] [--rounds 3] [--against ../evenload-before]

Each step is a process of its own, so that its peak memory is its own (`benchmarks.evaluation_world`). Held against is
one cursor of the database's driver that fills the same arrays: nobody can read them for less. With --against the same
database, made by another checkout of evenload, is evaluated by both in turn: by that one as it is, by this one after
the migration. PostgreSQL is a server of its own, which needs the Debian package `postgresql`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from support.postgres import serving

_ROOT: Final = Path(__file__).parent.parent
_STEP: Final = Path(__file__).with_name("evaluation_world.py")
_MOST_ROUNDS_VENS: Final = 20_000
"""Fleets above this size are evaluated once."""


@dataclass(frozen=True)
class Row:
    """One case: wall and processor time of an evaluation, medians; what it takes as multiples of reading alone.

    `least`, `most`: of that ratio. `rss_mb`: the process's peak memory. `times_faster`: than the other checkout, by
    processor time; None: there was none.
    """

    case: str
    vens: int
    database: str
    rounds: int
    seconds: float
    cpu_s: float
    ratio_to_reading: float
    least: float
    most: float
    rss_mb: float
    times_faster: float | None = None


def _step(code: Path, *words: str) -> Any:
    """Run a step with the code of a checkout; return what it printed."""
    paths = os.pathsep.join(map(str, (code, _ROOT / "benchmarks")))
    done = subprocess.run(  # noqa: S603  our own
        [sys.executable, str(_STEP), *words],
        env=os.environ | {"PYTHONPATH": paths},
        cwd=code,
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


def measured(vens: int, database: str, url: str, rounds: int, against: Path | None = None) -> Row:
    """Make a fleet in an empty database, and evaluate its dispatch; `against`: another checkout, for SQLite."""
    rounds = 1 if vens > _MOST_ROUNDS_VENS else rounds
    dispatch_id = _step(against or _ROOT, "make", url, str(vens))
    before: list[dict[str, Any]] = []
    old = url
    if against is not None:
        path = Path(url.removeprefix("sqlite:///"))
        url = f"sqlite:///{shutil.copy(path, path.with_suffix('.copy'))}"
        _step(_ROOT, "evaluate", url, dispatch_id)  # migrates it
    reading, ours = [], []
    for _ in range(rounds):
        reading.append(_step(_ROOT, "raw", url, dispatch_id))
        ours.append(_step(_ROOT, "evaluate", url, dispatch_id))
        if against is not None:
            before.append(_step(against, "evaluate", old, dispatch_id))
    for one in ours:
        if one["vens"] != vens:
            raise SystemExit(f"{one['vens']} of {vens} VENs count: this measures nothing.")
    ratios = [one["cpu_s"] / base["cpu_s"] for one, base in zip(ours, reading, strict=True)]
    return Row(
        f"{vens:,} VENs, {database}",
        vens,
        database,
        rounds,
        median(one["seconds"] for one in ours),
        median(one["cpu_s"] for one in ours),
        median(ratios),
        min(ratios),
        max(ratios),
        max(one["rss_mb"] for one in ours),
        median(b["cpu_s"] / one["cpu_s"] for b, one in zip(before, ours, strict=True)) if before else None,
    )


def _tell(row: Row) -> None:
    faster = "" if row.times_faster is None else f", {row.times_faster:.1f} times as fast as before"
    sys.stderr.write(
        f"{row.case}: {row.seconds:.1f} s ({row.cpu_s:.1f} s of CPU), {row.ratio_to_reading:.1f} times reading alone "
        f"({row.least:.1f} to {row.most:.1f}), {row.rss_mb:.0f} MB{faster}\n"
    )


@contextmanager
def _sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/fleet.db"


def rows_of(sizes: Sequence[int], databases: Sequence[str], rounds: int, against: Path | None) -> list[Row]:
    """Measure every size on every database, and tell each as it comes."""
    rows = []
    for vens in sizes:
        with _sqlite() as url:
            rows.append(measured(vens, "SQLite", url, rounds, against))
        _tell(rows[-1])
        if "postgresql" in databases:
            with serving() as cluster, cluster.database(migrated=True) as url:
                rows.append(measured(vens, "PostgreSQL", url, rounds))
            _tell(rows[-1])
    return rows


def main() -> None:
    """Measure; write the rows beside what the file holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--vens", default="1000,10000,100000", help="sizes of the fleet (%(default)s)")
    parser.add_argument("--databases", default="sqlite,postgresql", help="%(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="evaluations of the smaller fleets (%(default)s)")
    parser.add_argument("--against", type=Path, help="another checkout of evenload")
    parser.add_argument("--json", type=Path, default=_ROOT / "build" / "bench-metrics.json")
    chosen = parser.parse_args()
    against = None if chosen.against is None else chosen.against.resolve()
    rows = rows_of([int(one) for one in chosen.vens.split(",")], chosen.databases.split(","), chosen.rounds, against)
    chosen.json.parent.mkdir(exist_ok=True)
    kept = json.loads(chosen.json.read_text()) if chosen.json.exists() else {}
    chosen.json.write_text(json.dumps(kept | {"cost": [asdict(row) for row in rows]}, indent=1))


if __name__ == "__main__":
    main()
