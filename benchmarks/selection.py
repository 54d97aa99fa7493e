"""Selection at fleet size: wall time, peak memory, gap to the bound, broken limits, against the greedy choice.

    python -m benchmarks.selection [--json FILE]

Each case runs in a process of its own, so that its peak memory is its own, fleet and answer included. `tiers`: homes of
eight habits and three prices, as a programme has them. `spread`: every home has its own price, size and shape: the
hardest case for grouping. `caps`: `spread` on 20 feeders, of which five may carry half their share of the target.
`partial`: `tiers`, where every second home has a set-point.
"""

import argparse
import json
import multiprocessing
import os
import resource
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from aggregator.flexibility.fleet import Fleet, Reason
from aggregator.flexibility.pool import pool
from aggregator.selection import Ask, Choice, Members, correct, greedy, select

FEEDERS, CAPPED = 20, 5
SHARE_BARRED = 0.06


@dataclass(frozen=True)
class Row:
    """One case: seconds of wall and processor time, MB at the peak, costs."""

    case: str
    homes: int
    intervals: int
    method: str
    wall_s: float
    cpu_s: float
    peak_mb: float
    cost: float
    gap_percent: float
    short_percent: float
    called: int
    violations: int


def fleet_of(kind: str, homes: int, intervals: int, seed: int = 1) -> Fleet:
    """Return a synthetic fleet; the same for the same arguments."""
    rng = np.random.default_rng(seed)
    spot = np.linspace(0, 1, intervals, endpoint=False)
    if kind in {"tiers", "partial"}:
        phase = rng.choice(np.linspace(0, 1, 8, endpoint=False), (homes, 1))
        shape = 1 + 0.5 * np.sin(2 * np.pi * (spot[None, :] + phase))
        price = rng.choice([0.18, 0.22, 0.26], homes)
    else:
        shape = 1 + 0.5 * np.sin(2 * np.pi * (spot[None, :] + rng.random((homes, 1))))
        price = rng.uniform(0.1, 0.4, homes)
    p50 = rng.gamma(3.0, 300.0, (homes, 1)) * np.maximum(shape + 0.15 * rng.standard_normal((homes, intervals)), 0.0)
    drawn = rng.random(homes)
    step = np.where(np.arange(homes) % 2, 100.0, np.nan) if kind == "partial" else None
    return Fleet(
        ven_ids=tuple(f"ven-{home:07d}" for home in range(homes)),
        start_s=0,
        step_s=900,
        nameplate_w=np.full(homes, 4000.0),
        p10_w=p50 * 0.7,
        p50_w=p50,
        p90_w=p50 * 1.3,
        reliability=rng.uniform(0.6, 0.97, homes),
        price=price,
        calls_left=rng.integers(0, 40, homes),
        calls=rng.integers(0, 20, homes),
        last_call_s=rng.integers(0, 10**6, homes) * -1,
        barred=[
            Reason.OFFLINE if x < SHARE_BARRED / 2 else Reason.RESTING if x < SHARE_BARRED else None for x in drawn
        ],
        area=rng.integers(0, FEEDERS, homes),
        areas=tuple(f"feeder-{n}" for n in range(FEEDERS)),
        minimum_w=None if step is None else 3 * step,
        step_w=step,
    )


def ask_of(kind: str, homes: int, intervals: int) -> Ask:
    """Return a target of about half of what there is, with a hump and a hollow."""
    hump = 1 + 0.3 * np.sin(2 * np.pi * np.linspace(0, 1, intervals))
    target = homes * 300.0 * hump
    caps = {feeder: 0.5 * float(target.max()) / FEEDERS for feeder in range(CAPPED)} if kind == "caps" else {}
    return Ask(target, caps=caps)


def violations(fleet: Fleet, ask: Ask, choice: Choice) -> int:
    """Count what a choice breaks: barred or exhausted homes called, caps exceeded in an interval."""
    called = choice.power_w.any(axis=1)
    barred = np.array([why is not None for why in fleet.barred]) | (fleet.calls_left <= 0)
    over = sum(
        int((choice.power_w[fleet.area == area].sum(axis=0) > cap * (1 + 1e-9)).sum()) for area, cap in ask.caps.items()
    )
    return int((called & barred).sum()) + over + int(len(choice.reasons) != len(fleet.ven_ids))


def choose(name: str, kind: str, homes: int, intervals: int) -> Row:
    """Run a selection; `name` says which."""
    fleet, ask = fleet_of(kind, homes, intervals), ask_of(kind, homes, intervals)
    function = greedy if name == "greedy" else select
    cpu = time.process_time()
    choice = function(fleet, ask, seed=7)
    cpu = time.process_time() - cpu
    bound = choice.bound if name != "greedy" else select(fleet, ask, seed=7, deadline_s=60).bound
    return Row(
        f"{name} {kind}",
        homes,
        intervals,
        choice.method,
        choice.elapsed_s,
        cpu,
        _peak_mb(),
        choice.cost,
        100 * (choice.cost - bound) / choice.cost,
        100 * float(choice.short_w.sum() / ask.target_w.sum()),
        len(choice.called),
        violations(fleet, ask, choice),
    )


def turn(name: str, kind: str, homes: int, intervals: int) -> Row:
    """Run one minute of the loop, with a seventh of the members gone; `called`: replacements."""
    fleet, ask = fleet_of(kind, homes, intervals), ask_of(kind, homes, intervals)
    choice = select(fleet, ask, seed=7)
    rng = np.random.default_rng(2)
    index = np.array(choice.called)
    out = rng.random(index.size) < 1 / 7
    no = np.zeros(index.size, dtype=bool)
    ordered = choice.power_w[index]
    t = intervals // 2
    members = Members(index, ordered, out, ~out, no, ordered[:, t] * rng.normal(0.8, 0.2, index.size), no)
    cpu, wall = time.process_time(), time.perf_counter()
    moves = correct(fleet, ask, members, choice.reserve, t)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Row(
        f"{name} {kind}", homes, intervals, "", wall, cpu, _peak_mb(), np.nan, np.nan, np.nan, len(moves.call), 0
    )


def whole_pool(name: str, kind: str, homes: int, intervals: int) -> Row:
    """Run the Monte Carlo pool."""
    fleet = fleet_of(kind, homes, intervals)
    cpu, wall = time.process_time(), time.perf_counter()
    pool(fleet)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Row(f"{name} {kind}", homes, intervals, "", wall, cpu, _peak_mb(), np.nan, np.nan, np.nan, 0, 0)


CASES = {
    "select": choose,
    "greedy": choose,
    "loop": turn,
    "pool": whole_pool,
}
RUNS = (
    ("select", "tiers", 100_000, 96),
    ("select", "spread", 100_000, 96),
    ("select", "caps", 100_000, 96),
    ("select", "partial", 100_000, 96),
    ("greedy", "tiers", 100_000, 96),
    ("greedy", "spread", 100_000, 96),
    ("select", "tiers", 10_000, 32),
    ("select", "spread", 10_000, 32),
    ("loop", "spread", 100_000, 96),
    ("pool", "spread", 100_000, 96),
)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _run(run: tuple[str, str, int, int]) -> Row:
    return CASES[run[0]](*run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows there, too")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} processors, load before: {os.getloadavg()[0]:.1f}")
    heads = ("case", "homes", "T", "by", "wall s", "cpu s", "peak MB", "cost", "gap %", "short %", "called", "broken")
    widths = (-16, 8, 4, 8, 8, 7, 9, 11, 7, 8, 8, 7)
    print("".join(f"{head:{'<' if width < 0 else '>'}{abs(width)}}" for head, width in zip(heads, widths, strict=True)))
    rows = []
    for run in RUNS:
        # A fresh process each: the peak of one case must not hide in that of another.
        with multiprocessing.get_context("spawn").Pool(1) as processes:
            row = processes.apply(_run, (run,))
        rows.append(asdict(row) | {"load": os.getloadavg()[0]})
        print(
            f"{row.case:16}{row.homes:8}{row.intervals:4}{row.method:>8}{row.wall_s:8.2f}{row.cpu_s:7.2f}{row.peak_mb:9.0f}"
            f"{row.cost:11.1f}{row.gap_percent:7.2f}{row.short_percent:8.2f}{row.called:8}{row.violations:7}",
            flush=True,
        )
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
