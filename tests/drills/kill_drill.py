"""One run of the demo's world with four homes, in which one process is killed once, and what is left afterwards."""

import asyncio
import contextlib
import json
import math
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console

from core.spans import Span
from evenload.client import OperatorClient
from evenload.demo.data import data_dir, load_series
from evenload.demo.home_log import LOG_NAME, read_log, switches
from evenload.demo.model import MINUTE, House, Switch, make_houses
from evenload.demo.plan import DemoPlan
from evenload.demo.processes import Stage
from evenload.demo.setup import Scene, set_up, until_ready, watch

SPEED = 120.0
PLAN = replace(DemoPlan(), homes=4, opt_out=4, alone=0, event_duration=timedelta(minutes=30))
WINDOW = Span(datetime(2013, 11, 20, 17, 0, tzinfo=UTC), datetime(2013, 11, 20, 17, 30, tzinfo=UTC))
"""The same event in every run: the homes draw the same, whatever the host was doing."""

_LATE_S = 30.0
_SABOTAGE = Path(__file__).with_name("sabotage")
_LEAST_NOTICE = timedelta(minutes=6)
_HEAD_STARTS = (timedelta(minutes=30), timedelta(minutes=90))
"""How much earlier the world begins: the second is for a host too slow to have the gateways ready in time."""
_DEADLINE_S = 40.0


@dataclass(frozen=True, slots=True)
class Kill:
    """Who is killed, and when: at a world time, or at a point (see sabotage) inside a process (`within`).

    `number`: at which visit of the point, counted from `not_before`. The victim stays away for `away` of world time.
    """

    victim: str
    at: datetime | None = None
    point: str = ""
    within: str = ""
    number: int = 1
    not_before: datetime | None = None
    away: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class Command:
    """A command in a gateway's journal: what was asked, and the ends that it came to, each as often as noted."""

    device: str
    capability: str
    value: str
    until: str
    ends: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Home:
    """What is to be the same after a kill. Every list counts: a thing done twice stands there twice."""

    ven: str
    modifications: tuple[int, ...]
    opts: tuple[tuple[str, str, str | None, int], ...]
    commands: tuple[Command, ...]
    switched: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Interval:
    """One row of a VEN's energy in the VTN, and what the house says it was."""

    start: datetime
    end: datetime
    energy_wh: float
    true_wh: float
    quality: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run left behind."""

    homes: tuple[Home, ...]
    delivered_wh: float
    intervals: dict[str, list[Interval]]
    kills: int
    outbox: dict[str, int]

    def estimated(self, ven: str) -> list[Interval]:
        """Return the intervals of a VEN that the gateway had to bridge."""
        return [one for one in self.intervals[ven] if one.quality == "estimated"]


class DrillStage(Stage):
    """A stage on which one process is killed once, with whatever the sabotage needs on the others' environment."""

    def __init__(self, directory: Path, kill: Kill | None) -> None:
        Stage.__init__(self, directory)
        self._kill = kill
        self.kills = 0

    async def start(self, name: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
        """Start a process, sabotaged if it is to be."""
        kill = self._kill
        if kill is not None and kill.within == name:
            environment = (environment or {}) | self._trap(kill)
        await Stage.start(self, name, *arguments, environment=environment)
        (self.directory / f"{name}.pid").write_text(str(self.processes[name].pid))

    def _trap(self, kill: Kill) -> dict[str, str]:
        trap = {
            "point": kill.point,
            "number": kill.number,
            "marker": str(self.directory / "sprung"),
            "victim": None if kill.victim == kill.within else str(self.directory / f"{kill.victim}.pid"),
            "not_before": kill.not_before.isoformat() if kill.not_before else None,
        }
        others = os.environ.get("PYTHONPATH", "")
        return {"PYTHONPATH": f"{_SABOTAGE}{os.pathsep}{others}", "EVENLOAD_DRILL": json.dumps(trap)}

    def check(self, expected: Sequence[str] = ()) -> None:
        """Raise UnavailableError if a process has died that was not to be killed."""
        Stage.check(self, (*expected, *([self._kill.victim] if self._kill else ())))

    async def execute(self, scene: Scene) -> None:
        """See the victim killed, and start it again."""
        kill = self._kill
        if kill is None:
            return
        if kill.at is not None:
            await scene.clock.sleep_until(kill.at)
            await self.kill(kill.victim)
        ended = await self.processes[kill.victim].wait()
        assert ended == -signal.SIGKILL, f"{kill.victim} ended by itself: {ended}"
        self.kills += 1
        await scene.clock.sleep_until(scene.clock.now() + kill.away)
        await self.restart(kill.victim)


async def run(directory: Path, kill: Kill | None) -> Outcome:
    """Play the event with four homes, and kill one process once."""
    for number, head_start in enumerate(_HEAD_STARTS):
        plan = replace(PLAN, world_start=PLAN.world_start - head_start)
        outcome = await _run(directory / str(number), plan, kill)
        if outcome is not None:
            return outcome
    raise AssertionError("the host is too slow: the gateways were never ready in time")


async def _run(directory: Path, plan: DemoPlan, kill: Kill | None) -> Outcome | None:
    """Play it once; None if the gateways were ready too late to answer in peace, before anything was killed."""
    directory.mkdir(parents=True)
    stage = DrillStage(directory, kill)
    try:
        scene = await set_up(plan, SPEED, stage, Console(quiet=True))
        await until_ready(scene, _show)
        if scene.clock.now() >= WINDOW.start - _LEAST_NOTICE:
            return None
        ordered_at = scene.clock.now()
        async with _killed_once(stage, scene):
            dispatch_id = await _order(scene)
            await watch(scene, dispatch_id, WINDOW, _show)
            await _until_restored(directory)
        async with scene.client() as client:
            result = await _result(client, dispatch_id)
            outbox = (await client.get("/status"))["outbox"]
    finally:
        await stage.stop()
    homes, intervals = _left_behind(directory, ordered_at)
    return Outcome(homes, result["delivered_wh"], intervals, stage.kills, outbox)


async def _result(client: OperatorClient, dispatch_id: str) -> dict[str, Any]:
    """Return what the dispatch brought once all readings are in: a gateway sends those of a kill's time later."""
    until = time.monotonic() + _LATE_S
    while True:
        found: dict[str, Any] = await client.post(f"/dispatches/{dispatch_id}/evaluation")
        if found["coverage"] == 1 or time.monotonic() > until:
            return found
        await asyncio.sleep(0.5)


def _show(_done: float, _text: str) -> None:
    """Show nothing."""


@contextlib.asynccontextmanager
async def _killed_once(stage: DrillStage, scene: Scene) -> AsyncIterator[None]:
    """Have the kill done meanwhile; it must have happened by the end."""
    killing = asyncio.create_task(stage.execute(scene))
    try:
        yield
        async with asyncio.timeout(_DEADLINE_S):
            await killing
    finally:
        killing.cancel()


async def _order(scene: Scene) -> str:
    minutes = int(scene.plan.event_duration.total_seconds() // 60)
    signal_ = {
        "name": "LOAD_DISPATCH",
        "type": "delta",
        "unit": "W",
        "intervals": [{"duration": f"PT{minutes}M", "value": -scene.plan.order_w}],
    }
    async with scene.client() as client:
        (programme,) = await client.all("/programmes")
        body = {"programme_id": programme["id"], "start": WINDOW.start.isoformat(), "signals": [signal_]}
        made = await client.post("/dispatches", body | {"direction": "reduce"})
    return str(made["dispatch"]["id"])


async def _until_restored(directory: Path) -> None:
    """Wait until no gateway holds a device any more."""
    async with asyncio.timeout(_DEADLINE_S):
        while any(_rows(path, "SELECT 1 FROM command WHERE closed = 0") for path in _journals(directory).values()):  # noqa: ASYNC110  other processes' files
            await asyncio.sleep(0.1)


# -- what is left


def _journals(directory: Path) -> dict[str, Path]:
    return {path.parents[1].name: path for path in sorted(directory.glob("homes/*/state/journal.db"))}


def _rows(path: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as db:
        return db.execute(sql, values).fetchall()


def _left_behind(directory: Path, since: datetime) -> tuple[tuple[Home, ...], dict[str, list[Interval]]]:
    """Read the stores and logs of all processes; energy since the order."""
    store = directory / "vtn" / "vtn.db"
    log = read_log(directory / LOG_NAME)
    homes: list[Home] = []
    intervals = {}
    for house in make_houses(PLAN.seed, PLAN.homes, load_series(data_dir())):
        name = house.home.id
        switched = switches(log, name)
        events = _rows(
            store,
            "SELECT event.id, modification_number FROM event JOIN ven ON ven.id = ven_id WHERE name = ? ORDER BY 1",
            name,
        )
        opts = _rows(
            store,
            "SELECT source, opt_type, reason, modification_number FROM opt JOIN ven ON ven.id = ven_id"
            " WHERE name = ? ORDER BY sequence",
            name,
        )
        commands = _commands(_journals(directory)[name], {event_id for event_id, _ in events})
        _check_log(directory / "homes" / name / "commands.jsonl", commands)
        modifications = tuple(number for _, number in events)
        relay = tuple("on" if one.on else "off" for one in switched)
        homes.append(Home(name, modifications, tuple(opts), commands, relay))
        intervals[name] = _intervals(store, house, switched, since)
    return tuple(homes), intervals


def _commands(journal: Path, event_ids: set[str]) -> tuple[Command, ...]:
    found = []
    for ident, cause, *what in _rows(
        journal, "SELECT id, cause, device, capability, value, until FROM command ORDER BY seq"
    ):
        assert cause in event_ids, f"{cause} is no event of this VEN"
        steps = _rows(journal, "SELECT state FROM step WHERE command_id = ? ORDER BY seq", ident)
        ends = tuple(state for (state,) in steps if state not in ("journalled", "sent"))
        found.append(Command(*what[:2], json.loads(what[2]), what[3], ends))
    return tuple(found)


def _check_log(path: Path, commands: Sequence[Command]) -> None:
    """Check that the gateway's log tells every step of a command once; a step before a crash may be missing.

    The log of a home that stays out begins with its opt, which a crash can take: only without a command there may be no
    log at all.
    """
    if not path.exists():
        assert not commands, f"{path} is missing"
        return
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    steps = [(one["id"], one["state"]) for one in lines if one["kind"] == "command"]
    assert len(steps) == len(set(steps)), f"{path} tells a step twice: {steps}"


def _intervals(store: Path, house: House, log: Sequence[Switch], since: datetime) -> list[Interval]:
    """Return the VEN's energy as its telemetry gave it, and check that it covers the time once."""
    rows = _rows(
        store,
        "SELECT start_s, duration_s, value, reading.quality FROM reading JOIN ven ON ven.id = ven_id WHERE name = ?"
        " AND quantity = 'energy_real' AND kind = 'sum' AND report_type = 'usage' AND value IS NOT NULL"
        " AND start_s + duration_s >= ? ORDER BY start_s",
        house.home.id,
        math.ceil(since.timestamp()),
    )
    found = []
    for start_s, duration_s, value, quality in rows:
        start = datetime.fromtimestamp(start_s, UTC)
        end = start + timedelta(seconds=duration_s)
        found.append(Interval(start, end, value, _true_wh(house, log, start, end), quality))
    assert found[-1].end > WINDOW.end
    for one, following in pairwise(found):
        assert one.end == following.start, f"{house.home.id}: {one} is not followed by {following}"
    return found


def _true_wh(house: House, log: Sequence[Switch], start: datetime, end: datetime) -> float:
    """Return the house's energy between any two times, each minute taken evenly: its register is read every minute."""
    first = start.replace(second=0)
    minutes = house.simulate(log, first, first + timedelta(minutes=math.ceil((end - first) / MINUTE)))
    return sum(one.total_w * ((min(end, one.start + MINUTE) - max(start, one.start)) / MINUTE) for one in minutes) / 60


def plain(outcome: Outcome) -> dict[str, Any]:
    """Return what two runs have in common, for JSON."""
    return json.loads(json.dumps({"homes": [asdict(one) for one in outcome.homes], "wh": outcome.delivered_wh}))
