"""`make bench`: measure evenload and openleadr in turn, and write what came out.

    python -m benchmarks [--quick] [--cases poll,poll-tls] [--rounds 5] [--seconds 2] [--homes 1000]
    python -m benchmarks --against ../evenload-before [--fresh --rounds 12]

The whole of it takes some minutes. With --quick, or some of the cases, docs/explanation/performance.md stays as it is.
With --against the peer is another checkout of evenload (an older one: its directory is migrated for this one), to see
what a change has cost. Two processes of the same code differ by some percent for as long as they live: --fresh starts
new ones for every round, to tell a small cost from such luck. Both of a round live at once and are measured in turn, a
tenth of the time each, so that a host whose speed swings does the same to both.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import uvloop

from benchmarks.cases import CASES, MORE, Case, Figure, Plan, Stage, connected, mean
from benchmarks.identities import Site, homes, identified
from benchmarks.load import DriveError, Fleet, Ven
from benchmarks.results import PEER, Row, as_json, compare, table, write_page
from benchmarks.servers import started
from certs.kinds import KeyType

_ROOT: Final = Path(__file__).parent.parent
_OURS: Final = "ours"
_QUICK: Final = Plan(homes=200, warm_s=0.3, seconds=0.7)
_WHOLE_S: Final = 1800.0
_SLICES: Final = 10
_SLICE_WARM_S: Final = 0.1


@dataclass(slots=True)
class Bench:
    """One call of the benchmark: how much, how often, and the directory where everything lies meanwhile."""

    plan: Plan
    rounds: int
    folder: Path
    site: Site
    tell: Callable[[str], None]
    against: Path | None = None
    """Another checkout of evenload, measured in the place of openleadr."""
    fresh: bool = False
    """Whether every round has servers of its own, whatever the case."""
    _identified: dict[KeyType, list[Ven]] = field(default_factory=dict)
    _copies: int = 0

    async def measure(self, case: Case) -> Row:
        """Run a case on both servers, in turn."""
        vens = await self._vens(case)
        servers = (_OURS, "peer" if self.against is None else "before")
        figures: dict[str, list[Figure]] = {name: [] for name in servers}
        async with AsyncExitStack() as stack:
            lasting: dict[str, tuple[Fleet, Stage]] = {}
            if not (case.fresh or self.fresh):
                for name in servers:
                    lasting[name] = await stack.enter_async_context(self._ready(case, name, vens))
            rounds = self.rounds if self.fresh else min(self.rounds, case.most_rounds)
            for number in range(rounds):
                order = servers if number % 2 else servers[::-1]
                if self.fresh and not case.fresh:
                    round_of = await self._sliced(case, order, vens)
                else:
                    round_of = {name: await self._once(case, name, vens, lasting.get(name)) for name in order}
                for name, figure in round_of.items():
                    figures[name].append(figure)
                    self.tell(f"{case.name} {number + 1}/{rounds} {name}: {figure.value:,.2f} {case.unit}")
        return compare(case, *(figures[name] for name in servers))

    async def _once(self, case: Case, name: str, vens: Sequence[Ven], lasting: tuple[Fleet, Stage] | None) -> Figure:
        """Run a case once, on a server of its own unless one is given."""
        if lasting is not None:
            return await case.run(*lasting)
        async with self._ready(case, name, vens) as (fleet, stage):
            return await case.run(fleet, stage)

    async def _sliced(self, case: Case, names: Sequence[str], vens: Sequence[Ven]) -> dict[str, Figure]:
        """Run a case on fresh servers that live at once, a slice on each in turn; return the means."""
        slices: dict[str, list[Figure]] = {name: [] for name in names}
        short = replace(self.plan, warm_s=_SLICE_WARM_S, seconds=self.plan.seconds / _SLICES)
        async with AsyncExitStack() as stack:
            ready = {name: await stack.enter_async_context(self._ready(case, name, vens)) for name in names}
            for fleet, stage in ready.values():
                await case.run(fleet, replace(stage, plan=replace(short, warm_s=self.plan.warm_s)))
            for number in range(_SLICES):
                for name in names if number % 2 else names[::-1]:
                    fleet, stage = ready[name]
                    slices[name].append(await case.run(fleet, replace(stage, plan=short)))
        return {name: mean(figures) for name, figures in slices.items()}

    async def _vens(self, case: Case) -> list[Ven]:
        count = case.vens(self.plan)
        if not case.tls:
            return homes(count)
        key_type = case.signs or KeyType.EC
        if key_type not in self._identified:
            self.tell("issuing certificates")
            most = max(self.plan.pollers, self.plan.reporters, self.plan.homes) if key_type is KeyType.EC else count
            self._identified[key_type] = await asyncio.to_thread(identified, self.site, most, key_type)
        return self._identified[key_type][:count]

    @asynccontextmanager
    async def _ready(self, case: Case, name: str, vens: Sequence[Ven]) -> AsyncIterator[tuple[Fleet, Stage]]:
        """Start a server with the case's VENs connected and prepared."""
        self._copies += 1
        site = await self.site.copy(self.folder / f"{self._copies:02d}-{case.name}-{name}")
        arguments = [str(site.settings)] if name != "peer" else [str(site.directory)] if case.tls else []
        if name == "peer" and case.signs is not None:
            arguments.append(case.signs)
        program, root = (_OURS, self.against) if name == "before" else (name, None)
        log = self.folder / f"{name}.log"
        mine = [replace(ven, prepared=deque()) for ven in vens]
        async with (
            started(program, log, *arguments, tls=case.tls, token=site.token, root=root) as server,
            connected(server, mine) as fleet,
        ):
            await case.prepare(fleet)
            yield fleet, Stage(server, site, self.plan)


async def run(options: argparse.Namespace, plan: Plan, cases: Sequence[Case]) -> list[Row]:
    """Run the cases and return the table's rows, in a directory that is gone afterwards."""
    begun = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - begun:6.1f} s  {text}", flush=True)

    build = _ROOT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=build) as folder:
        place = Path(folder) / "site"
        site = await (Site.make(place) if options.against is None else Site.make_with(options.against, place))
        bench = Bench(plan, options.rounds, Path(folder), site, tell, options.against, options.fresh)
        async with asyncio.timeout(_WHOLE_S):
            return [await bench.measure(case) for case in cases]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measure evenload against openleadr.")
    known = ", ".join({**CASES, **MORE})
    parser.add_argument("--cases", help=f"some of: {known}")
    parser.add_argument("--quick", action="store_true", help="one short round; shows that it works, not how fast")
    parser.add_argument(
        "--rounds", type=int, help="how often each server is measured, without --fresh at most 5 times (5)"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="start new servers for each round, and measure them by turns"
    )
    parser.add_argument("--seconds", type=float, help="how long each time (2)")
    parser.add_argument("--homes", type=int, help="VENs of dispatch-1000 and memory-1000 (1000)")
    parser.add_argument("--against", type=Path, help="another checkout of evenload, instead of openleadr")
    parser.add_argument("--json", type=Path, default=_ROOT / "build" / "bench.json", help="where the rows go")
    options = parser.parse_args(arguments)
    if options.against is not None:
        options.against = options.against.resolve()
        if not (options.against / "benchmarks" / "ours.py").is_file():
            parser.error(f"{options.against} is no checkout of evenload with benchmarks.")
    options.rounds = options.rounds or (1 if options.quick else 5)
    return options


def _plan(options: argparse.Namespace) -> Plan:
    changes: dict[str, Any] = {"seconds": options.seconds, "homes": options.homes}
    return replace(_QUICK if options.quick else Plan(), **{name: one for name, one in changes.items() if one})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    options = _options(arguments)
    plan = _plan(options)
    wanted = options.cases.split(",") if options.cases else list(CASES)
    strangers = [name for name in wanted if name not in {**CASES, **MORE}]
    if strangers:
        print(f"No such case: {', '.join(strangers)}. There are {', '.join({**CASES, **MORE})}.", file=sys.stderr)
        return 2
    try:
        rows = uvloop.run(run(options, plan, [{**CASES, **MORE}[name] for name in wanted]))
    except (DriveError, TimeoutError) as error:
        print(f"bench: {str(error) or 'it took too long'}", file=sys.stderr)
        return 1
    about = asdict(plan) | {"rounds": options.rounds, "against": options.against.name if options.against else PEER}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(as_json(rows, about), indent=2) + "\n", encoding="utf-8")
    print(f"\n{table(rows, options.against.name if options.against else PEER)}\n\nWritten to {options.json}.")
    if options.against is None and not options.quick and plan == Plan() and wanted == list(CASES):
        page = _ROOT / "docs" / "explanation" / "performance.md"
        write_page(page, rows, about)
        print(f"The table of {page} is new.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
