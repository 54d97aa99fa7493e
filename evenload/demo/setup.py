"""The demo's scene: its processes set up and enrolled, the order, and the wait for its end."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from certs.files import write_new
from core.clock import WorldClock
from core.errors import EvenloadError, UnavailableError
from core.private import private_directory
from core.spans import Span, ceil_to
from evenload.client import OperatorClient
from evenload.demo import broker
from evenload.demo.households import household, household_dir
from evenload.demo.model import make_home
from evenload.demo.plan import DemoPlan
from evenload.demo.processes import Stage, free_port
from evenload.demo.simulated_homes import CLOCK_NAME
from evenload.setup import Shape, login_link, prepare

CONSOLE_PORT = 8080
"""Where a browser finds the console, if nobody else has taken it."""

Show = Callable[[float, str], None]
"""Takes how far the story is, in per cent, and what is going on."""

_LONGEST = timedelta(hours=5, minutes=30)
"""The heaters' evening ends then."""
_NOTICE = timedelta(minutes=10)
_TRADE_S = 10.0
"""Machine time that request, offer and acceptance may take; world time runs on meanwhile."""
_UNTIL_READY = timedelta(seconds=10)
"""Machine time in which gateways are usually ready once the world moves."""
_EVENING = timedelta(minutes=30)
"""The heaters' evening begins with the world; the event does not begin sooner than this after it."""
_TAIL = timedelta(minutes=8)
_LAST_S = 40.0
"""Machine time that the last reports may take at least."""
_LOOK_S = 0.5
_PATIENCE_S = 90.0
_LEARNING = timedelta(minutes=30)
"""World time in which gateways report and learn what their heaters draw."""
_GROUP = 4


def longest_s(world: timedelta, speed: float) -> float:
    """Return the machine time to wait for what takes so much world time, on a host that may be slow."""
    return _PATIENCE_S + world.total_seconds() / speed


@dataclass(slots=True)
class Scene:
    """A run on its way. `directory` is the stage's."""

    plan: DemoPlan
    stage: Stage
    clock: WorldClock
    token: str
    api_port: int
    console: Console
    settings: Path
    alone: tuple[str, ...] = ()
    """Homes whose gateway has a process of its own, which is called like the home."""
    silenced: set[str] = field(default_factory=set)
    """Processes that were ended on purpose."""

    @property
    def directory(self) -> Path:
        """Where the run keeps its files."""
        return self.stage.directory

    @property
    def ca(self) -> Path:
        """The VTN's CA."""
        return self.directory / "vtn" / "ca" / "ca.pem"

    def client(self) -> OperatorClient:
        """Return a client of the operator API."""
        return OperatorClient(f"https://127.0.0.1:{self.api_port}/v1", self.token, ca=self.ca)

    async def command(self, *arguments: str) -> Any:
        """Run an operator's command and return its JSON."""
        group, *rest = arguments
        access = {"EVENLOAD_TOKEN": self.token, "EVENLOAD_CA": str(self.ca)}
        url = f"https://127.0.0.1:{self.api_port}"
        out = await self.stage.run("evenload", group, "--url", url, "--json", *rest, environment=access)
        return json.loads(out)

    async def programme_id(self) -> str:
        """Return the demo's programme."""
        async with self.client() as client:
            (programme,) = await client.all("/programmes")
        return str(programme["id"])

    @asynccontextmanager
    async def patience(self, world: timedelta, wrong: str) -> AsyncIterator[None]:
        """Wait at most the machine time that a slow host takes, and so much world time.

        Raises UnavailableError, saying what is `wrong`, when that is over.
        """
        try:
            async with asyncio.timeout(longest_s(world, self.clock.speed)):
                yield
        except TimeoutError as error:
            raise UnavailableError(wrong) from error

    async def login_link(self) -> str:
        """Return a link that opens the console, once."""
        return await login_link(self.settings, "admin")


async def set_up(
    plan: DemoPlan,
    speed: float,
    stage: Stage,
    console: Console,
    *,
    fault: str | None = None,
    console_port: int | None = None,
) -> Scene:
    """Start broker, VTN and houses (with a fault of theirs), enrol the gateways and start them.

    `console_port`: where the console listens; any free port if left out.
    """
    directory = stage.directory
    private_directory(directory)
    if any(directory.iterdir()):
        raise UnavailableError(f"{directory} is not empty; every run has a directory of its own.")
    console.print(f"[bold]evenload demo[/]: {plan.homes} homes, files in {directory}")
    access = broker.prepare(directory / "broker", free_port())
    await stage.start("broker", "evenload.demo.broker", str(directory / "broker"), str(access.port))
    console.print(f"Broker: {'Mosquitto' if broker.mosquitto() else 'amqtt, embedded'} on port {access.port}")
    openadr_port, api_port = free_port(), free_port()
    clock_file = str(directory / CLOCK_NAME)
    shape = Shape("127.0.0.1", openadr_port, api_port, "PT1M", "PT1M", "PT5M", clock_file, console_port or free_port())
    made = await prepare(directory / "vtn", ("127.0.0.1",), "evenload-demo", shape)
    households = [_write_household(index, plan, directory, access) for index in range(1, plan.homes + 1)]
    clock = WorldClock(plan.world_start, datetime.now(UTC) + _lead(plan), speed)
    clock.save(directory / CLOCK_NAME)
    await stage.start("vtn", "evenload", "vtn", "--config", str(made.settings))
    houses = (
        "evenload.demo.simulated_homes",
        "--run",
        str(directory),
        "--homes",
        str(plan.homes),
        "--seed",
        str(plan.seed),
    )
    where = ("--broker-port", str(access.port), "--username", access.username)
    secret = ("--password-file", str(access.password_file))
    new = ("--newcomer", str(plan.newcomer)) if plan.newcomer else ()
    broken = ("--fault", fault) if fault else ()
    await stage.start("houses", *houses, *where, *secret, *new, *broken)
    scene = Scene(plan, stage, clock, made.token, api_port, console, made.settings)
    await _until_healthy(scene)
    await _enrol(scene, households)
    await _start_gateways(scene, households)
    return scene


def _lead(plan: DemoPlan) -> timedelta:
    """Return the machine time after which the world begins to move: by then most gateways have enrolled."""
    return timedelta(seconds=8 + 1.2 * plan.homes)


def _write_household(index: int, plan: DemoPlan, directory: Path, access: broker.Access) -> Path:
    """Write the household file of a home's gateway (JSON is YAML)."""
    mqtt = {
        "host": access.host,
        "port": access.port,
        "username": access.username,
        "password_file": str(access.password_file),
    }
    place = household_dir(make_home(plan.seed, index), directory)
    private_directory(place)
    path = place / "household.yaml"
    path.write_text(json.dumps(household(index, plan, directory, mqtt), indent=1) + "\n", encoding="utf-8")
    return path


async def _until_healthy(scene: Scene) -> None:
    async with scene.patience(timedelta(), "The VTN did not begin to answer."):
        while True:
            scene.stage.check()
            try:
                async with scene.client() as client:
                    await client.get("/status")
            except EvenloadError:
                await asyncio.sleep(0.1)
            else:
                return


async def _enrol(scene: Scene, households: Sequence[Path]) -> None:
    """Create programme and VENs; each gateway makes its key and buys a certificate with its code."""
    scene.console.print("The gateways make their keys and enrol with one-time codes ...")
    async with scene.client() as client:
        body = {
            "name": "Evening peak",
            "market_context": scene.plan.market_context,
            "parameters": {
                "notification": "PT10M",
                "time_zone": "Europe/London",
                "baseline": scene.plan.baseline,
                "settlement_interval": "PT30M",  # the series under the homes are of half hours
                "product": "evening reduction",
                "limits": {"per_day": 2, "per_week": 5, "longest": "PT3H"},
                "reward": {"currency": "GBP", "per_kwh": "0.15"},
            },
        }
        programme = await client.post("/programmes", body)
        made = [await client.post("/vens", {"name": path.parent.name}) for path in households]
        ven_ids = [one["ven"]["id"] for one in made]
        await client.post(f"/programmes/{programme['id']}/enrolments", {"ven_ids": ven_ids})
    gateways = [
        {"name": path.parent.name, "code": one["code"], "directory": str(path.parent / "identity")}
        for path, one in zip(households, made, strict=True)
    ]
    url = f"https://127.0.0.1:{scene.api_port}/v1"
    codes = scene.directory / "codes.json"
    write_new(codes, json.dumps({"vtn": url, "ca": str(scene.ca), "gateways": gateways}))
    await scene.stage.run("evenload.demo.enrol", str(codes))


async def _start_gateways(scene: Scene, households: Sequence[Path]) -> None:
    """Start the gateways, several in a process; the last ones have a process of their own, named after the home."""
    first_alone = max(len(households) - scene.plan.alone, _GROUP)
    others, alone = households[:first_alone], households[first_alone:]
    groups = [others[first : first + _GROUP] for first in range(0, len(others), _GROUP)]
    for number, group in enumerate(groups, 1):
        await scene.stage.start(f"vens-{number}", "evenload", "ven", "run", *_configs(group))
    scene.alone = tuple(path.parent.name for path in alone)
    for path in alone:
        await scene.stage.start(path.parent.name, "evenload", "ven", "run", *_configs([path]))


def _configs(paths: Sequence[Path]) -> list[str]:
    return [word for path in paths for word in ("--config", str(path))]


async def until_ready(scene: Scene, show: Show) -> None:
    """Wait until every VEN has registered, sent its history and telemetry, and its potential a second time.

    The first potential knows the meter's history but not the heater: half of what it could be is all that it says. A
    home that takes part in nothing has none.
    """
    wrong = "Not every gateway reported in time; `evenload fleet list` and the gateways' logs say more."
    async with scene.client() as client, scene.patience(_LEARNING, wrong):
        vens = await client.all("/vens")
        waiting = {one["id"] for one in vens}
        promises = {one["id"] for one in vens if one["name"] != scene.plan.opt_out_name}
        since = scene.plan.register_start.isoformat()
        while waiting:
            scene.stage.check()
            for ven_id in sorted(waiting):
                found = await client.get(f"/vens/{ven_id}/reports")
                state = {one["name"]: one for one in found["requests"] if one["state"] in ("active", "done")}
                history, usage = state.get("HISTORY_USAGE"), state.get("TELEMETRY_USAGE")
                potential = state.get("x-FLEXIBILITY_POTENTIAL")
                due = [usage, potential] if ven_id in promises else [usage]
                if history and history["state"] == "done" and all(one and one["last_report_at"] for one in due):
                    issued = await client.get(f"/vens/{ven_id}/potential", {"since": since, "limit": 20})
                    if ven_id not in promises or any(one["superseded_at"] for one in issued["items"]):
                        waiting.discard(ven_id)
            show(20 * (1 - len(waiting) / len(vens)), f"{len(vens) - len(waiting)} of {len(vens)} gateways report")
            await asyncio.sleep(_LOOK_S)


def window_of(scene: Scene) -> Span:
    """Return the next half hours that leave time to trade. Raises UnavailableError if the story would not fit.

    A host that took longer than usual to come this far will take longer to trade, too.
    """
    usual = _lead(scene.plan)
    slowness = max(1.0, (datetime.now(UTC) - scene.clock.origin + usual) / (usual + _UNTIL_READY))
    soonest = scene.clock.now() + _NOTICE + timedelta(seconds=_TRADE_S * slowness * scene.clock.speed)
    start = ceil_to(max(soonest, scene.plan.world_start + _EVENING), 1800)
    end = start + scene.plan.event_duration
    if end + _TAIL > scene.plan.world_start + _LONGEST:
        raise UnavailableError("Setting up took too long for the story to fit; try a lower --speed.")
    return Span(start, end)


async def watch(scene: Scene, dispatch_id: str, window: Span, show: Show) -> None:
    """Wait for the end of the event, the restores and the last telemetry."""
    end = window.end or window.start
    whole = (end + _TAIL - scene.clock.now()).total_seconds()
    async with scene.client() as client:
        while True:
            scene.stage.check(tuple(scene.silenced))
            now = scene.clock.now()
            left = (end + _TAIL - now).total_seconds()
            with suppress(UnavailableError):  # a VTN that is away comes back, or the time is up
                found = await client.get(f"/dispatches/{dispatch_id}")
                opts = [one["opt"] for one in found["events"]]
                text = (
                    f"event {found['dispatch']['status']}: {opts.count('optIn')} in, {opts.count('optOut')} out, "
                    f"{opts.count(None)} without answer"
                )
                show(20 + 80 * (1 - max(left, 0) / whole), text)
                if left <= 0 and await _settled(scene, client, found, end):
                    return
            if now > end + max(4 * _TAIL, timedelta(seconds=_LAST_S * scene.clock.speed)):
                raise UnavailableError("The last reports did not come; see the gateways' logs.")
            await asyncio.sleep(_LOOK_S)


async def _settled(scene: Scene, client: OperatorClient, answer: dict[str, Any], end: datetime) -> bool:
    """Tell whether every VEN that stayed in has reported beyond the event's end, and the outbox is empty."""
    status = await client.get("/status")
    if status["outbox"].get("pending") or status["outbox"].get("sent"):
        return False
    since = (end - timedelta(minutes=30)).isoformat()
    until = (end + timedelta(hours=1)).isoformat()
    for one in answer["events"]:
        if one["opt"] is None or one["ven_name"] in scene.silenced:
            continue
        query = {"since": since, "until": until, "quantity": "energy_real"}
        series = await client.all(f"/vens/{one['ven_id']}/readings", query)
        if not any(datetime.fromisoformat(start) >= end for part in series for start in part["start"]):
            return False
    return True
