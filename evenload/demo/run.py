"""The demo, told from beginning to end: processes, enrolment, an event, its result, the verdict.

broker - houses                              (MQTT, their own log)
|
gateways (VENs) - mutual TLS - VTN - operator's commands
"""

import asyncio
import json
import math
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from core.clock import WorldClock
from core.errors import EvenloadError, UnavailableError
from core.spans import Span, ceil_to
from evenload.client import OperatorClient
from evenload.demo import broker
from evenload.demo.data import data_dir, load_series
from evenload.demo.households import household, household_dir
from evenload.demo.houselog import LOG_NAME, read_log, switches
from evenload.demo.model import House, make_home, make_houses
from evenload.demo.placebo import placebo_of
from evenload.demo.plan import DemoPlan
from evenload.demo.stage import Stage, free_port
from evenload.demo.verdict import Evidence, faults
from evenload.setup import Shape, prepare
from metrics.rules import PRESETS

CONSTANT_BASELINE = "constant-baseline"
_LONGEST = timedelta(hours=4)
_NOTICE = timedelta(minutes=10)
_TAIL = timedelta(minutes=8)
_LOOK_S = 0.5
_SETUP_S = 90.0
_GROUP = 4


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for."""

    households: int = 12
    speed: float = 60.0
    once: bool = False
    json_file: Path | None = None
    seed: int = 1
    run: Path | None = None
    fault: str | None = None


@dataclass(slots=True)
class Scene:
    """A run on its way."""

    options: Options
    plan: DemoPlan
    directory: Path
    stage: Stage
    clock: WorldClock
    token: str
    api_port: int
    console: Console

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


async def tell(options: Options) -> int:
    """Tell the story and return the exit code: 0 if everything held."""
    console = Console()
    task = asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel if task else lambda: None)
    directory = (options.run or Path(tempfile.mkdtemp(prefix="evenload-demo-"))).resolve()
    stage = Stage(directory)
    try:
        scene = await _set_up(options, directory, stage, console)
        told, wrong = await _play(scene)
        _print(scene, told, wrong)
        if options.json_file is not None:
            options.json_file.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        if not options.once:
            console.print("The VTN goes on; press Ctrl-C to stop everything.")
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        console.print("Stopping everything.")
        return 130
    except EvenloadError as error:
        console.print(f"[red]The story broke off:[/] {error}\nIts logs lie in {directory}.")
        return 1
    finally:
        await stage.stop()
    return 1 if wrong else 0


async def _set_up(options: Options, directory: Path, stage: Stage, console: Console) -> Scene:
    """Start broker, VTN and houses, enrol the gateways and start them."""
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise UnavailableError(f"{directory} is not empty; every run has a directory of its own.")
    plan = replace(DemoPlan(), homes=options.households, seed=options.seed)
    console.print(f"[bold]evenload demo[/]: {plan.homes} homes, files in {directory}")
    access = broker.prepare(directory / "broker", free_port())
    await stage.start("broker", "evenload.demo.broker", str(directory / "broker"), str(access.port))
    console.print(f"Broker: {'Mosquitto' if broker.mosquitto() else 'amqtt, embedded'} on port {access.port}")
    openadr_port, api_port = free_port(), free_port()
    shape = Shape("127.0.0.1", openadr_port, api_port, "PT1M", "PT1M", "PT5M", str(directory / "clock.json"))
    lead = timedelta(seconds=4 + 0.6 * plan.homes)
    clock = WorldClock(plan.world_start, datetime.now(UTC) + lead, options.speed)
    clock.save(directory / "clock.json")
    made = await prepare(directory / "vtn", ("127.0.0.1",), "evenload-demo", shape)
    await stage.start("vtn", "evenload", "vtn", "--config", str(made.settings))
    scene = Scene(options, plan, directory, stage, clock, made.token, api_port, console)
    await _until_healthy(scene)
    houses = ("evenload.demo.houses", "--run", str(directory), "--homes", str(plan.homes), "--seed", str(plan.seed))
    where = ("--broker-port", str(access.port), "--username", access.username)
    secret = ("--password-file", str(access.password_file))
    fault = ("--fault", options.fault) if options.fault and options.fault != CONSTANT_BASELINE else ()
    await stage.start("houses", *houses, *where, *secret, *fault)
    households = [_write_household(index, plan, directory, access) for index in range(1, plan.homes + 1)]
    await _enrol(scene, households)
    await _start_gateways(scene, households)
    return scene


def _write_household(index: int, plan: DemoPlan, directory: Path, access: broker.Access) -> Path:
    """Write the household file of a home's gateway (JSON is YAML)."""
    mqtt = {
        "host": access.host,
        "port": access.port,
        "username": access.username,
        "password_file": str(access.password_file),
    }
    place = household_dir(make_home(plan.seed, index), directory)
    place.mkdir(parents=True)
    path = place / "household.yaml"
    path.write_text(json.dumps(household(index, plan, directory, mqtt), indent=1) + "\n", encoding="utf-8")
    return path


async def _until_healthy(scene: Scene) -> None:
    async with asyncio.timeout(_SETUP_S):
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
            "parameters": {"notification": "PT10M", "time_zone": "Europe/London"},
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
    codes.write_text(json.dumps({"vtn": url, "ca": str(scene.ca), "gateways": gateways}), encoding="utf-8")
    await scene.stage.run("evenload.demo.enrol", str(codes))


async def _start_gateways(scene: Scene, households: Sequence[Path]) -> None:
    """Start the gateways, several in a process; the one that will fall silent has a process of its own."""
    silent = scene.plan.silent
    alone = [path for index, path in enumerate(households, 1) if index == silent]
    others = [path for path in households if path not in alone]
    groups = [others[first : first + _GROUP] for first in range(0, len(others), _GROUP)]
    for number, group in enumerate(groups, 1):
        await scene.stage.start(f"vens-{number}", "evenload", "ven", "run", *_configs(group))
    if alone:
        await scene.stage.start("ven-silent", "evenload", "ven", "run", *_configs(alone))


def _configs(paths: Sequence[Path]) -> list[str]:
    return [word for path in paths for word in ("--config", str(path))]


async def _play(scene: Scene) -> tuple[dict[str, Any], list[str]]:
    """Play the story from registration to result."""
    columns = (SpinnerColumn(), TextColumn("{task.fields[world]}"), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=scene.console, transient=True) as progress:
        bar = progress.add_task("", total=100, world="")

        def show(done: float, text: str) -> None:
            progress.update(bar, completed=done, description=text, world=f"{scene.clock.now():%a %d %b %Y %H:%M}")

        await _until_ready(scene, show)
        if "ven-silent" in scene.stage.processes:
            await scene.stage.kill("ven-silent")
            scene.console.print(f"home-{scene.plan.silent:02d}'s gateway falls silent.")
        window = _window(scene)
        dispatch_id = await _order(scene, window)
        await _watch(scene, dispatch_id, window, show)
        result = await scene.command("event", "result", dispatch_id)
        status = await scene.command("status")
    if scene.options.fault == CONSTANT_BASELINE:
        result = await _with_constant_baseline(scene, result)
    return _judge(scene, result, status["outbox"], window)


async def _until_ready(scene: Scene, show: Any) -> None:
    """Wait until every VEN has registered, sent its history and begins to send telemetry."""
    async with scene.client() as client, asyncio.timeout(_SETUP_S):
        vens = await client.all("/vens")
        waiting = {one["id"] for one in vens}
        while waiting:
            scene.stage.check()
            for ven_id in sorted(waiting):
                found = await client.get(f"/vens/{ven_id}/reports")
                state = {one["name"]: one for one in found["requests"] if one["state"] in ("active", "done")}
                history, usage = state.get("HISTORY_USAGE"), state.get("TELEMETRY_USAGE")
                if history and history["state"] == "done" and usage and usage["last_report_at"]:
                    waiting.discard(ven_id)
            show(20 * (1 - len(waiting) / len(vens)), f"{len(vens) - len(waiting)} of {len(vens)} gateways report")
            await asyncio.sleep(_LOOK_S)


def _window(scene: Scene) -> Span:
    start = ceil_to(scene.clock.now() + _NOTICE, 1800)
    end = start + scene.plan.event_duration
    if end + _TAIL > scene.plan.world_start + _LONGEST:
        raise UnavailableError("Setting up took too long for the story to fit; try a lower --speed.")
    return Span(start, end)


async def _order(scene: Scene, window: Span) -> str:
    programmes = await scene.command("programme", "list")
    minutes = int(scene.plan.event_duration.total_seconds() // 60)
    arguments = ("--start", f"{window.start:%Y-%m-%dT%H:%M:%SZ}", "--duration", f"PT{minutes}M")
    power = ("--power-w", f"-{scene.plan.order_w:g}")
    made = await scene.command("event", "dispatch", programmes[0]["id"], *arguments, *power)
    scene.console.print(
        f"The operator orders {scene.plan.order_w / 1000:g} kW less of each home, "
        f"{window.start:%H:%M} to {window.end:%H:%M} world time."
    )
    return str(made["dispatch"]["id"])


async def _watch(scene: Scene, dispatch_id: str, window: Span, show: Any) -> None:
    """Wait for the end of the event, the restores and the last telemetry."""
    end = window.end or window.start
    whole = (end + _TAIL - scene.clock.now()).total_seconds()
    async with scene.client() as client:
        while True:
            scene.stage.check(("ven-silent",))
            now = scene.clock.now()
            left = (end + _TAIL - now).total_seconds()
            found = await client.get(f"/dispatches/{dispatch_id}")
            opts = [one["opt"] for one in found["events"]]
            text = (
                f"event {found['dispatch']['status']}: {opts.count('optIn')} in, {opts.count('optOut')} out, "
                f"{opts.count(None)} without answer"
            )
            show(20 + 80 * (1 - max(left, 0) / whole), text)
            if left <= 0 and await _settled(client, found, end):
                return
            if now > end + 4 * _TAIL:
                raise UnavailableError("The last reports did not come; see the gateways' logs.")
            await asyncio.sleep(_LOOK_S)


async def _settled(client: OperatorClient, found: dict[str, Any], end: datetime) -> bool:
    """Tell whether every VEN that stayed in has reported beyond the event's end, and the outbox is empty."""
    status = await client.get("/status")
    if status["outbox"].get("pending") or status["outbox"].get("sent"):
        return False
    since = (end - timedelta(minutes=30)).isoformat()
    until = (end + timedelta(hours=1)).isoformat()
    for one in found["events"]:
        if one["opt"] is None:
            continue
        query = {"since": since, "until": until, "quantity": "energy_real"}
        series = await client.get(f"/vens/{one['ven_id']}/readings", query)
        if not any(datetime.fromisoformat(start) >= end for part in series for start in part["start"]):
            return False
    return True


def _judge(
    scene: Scene, result: dict[str, Any], outbox: dict[str, int], window: Span
) -> tuple[dict[str, Any], list[str]]:
    """Compare what the VTN computed with what the houses know, and list what is wrong."""
    houses = make_houses(scene.plan.seed, scene.plan.homes, load_series(data_dir()))
    entries = read_log(scene.directory / LOG_NAME)
    switched = {house.home.id: switches(entries, house.home.id) for house in houses}
    told = _told(scene, result, window, houses, switched)
    return told, faults(Evidence(told, switched, outbox))


def _told(
    scene: Scene, result: dict[str, Any], window: Span, houses: Sequence[House], switched: dict[str, Any]
) -> dict[str, Any]:
    end = window.end or window.start
    true_wh = {house.home.id: house.true_wh(switched[house.home.id], window.start, end) for house in houses}
    stayed = [house for house in houses if any(v["ven_name"] == house.home.id and v["counts"] for v in result["vens"])]
    spread = placebo_of(stayed or houses, window, PRESETS["high5of10"]).sd_wh
    vens = [
        {
            "ven_name": one["ven_name"],
            "opt": one["opt"] or "no answer",
            "reason": one["reason"],
            "ordered_kwh": one["ordered_wh"] / 1000,
            "delivered_kwh": one["delivered_wh"] / 1000,
            "true_kwh": true_wh[one["ven_name"]] / 1000,
            "commands": _commands(scene.directory / "homes" / one["ven_name"] / "commands.jsonl"),
        }
        for one in sorted(result["vens"], key=lambda one: one["ven_name"])
    ]
    intervals = [
        {
            "start": one["start"],
            "duration_s": one["duration_s"],
            **{f"{name}_kw": one[f"{name}_w"] / 1000 for name in ("target", "baseline", "actual", "delivered")},
        }
        for one in result["intervals"]
    ]
    return {
        "world_start": scene.plan.world_start.isoformat(),
        "speed": scene.options.speed,
        "seed": scene.plan.seed,
        "method": result["method"],
        "ordered_kwh": result["ordered_wh"] / 1000,
        "delivered_kwh": result["delivered_wh"] / 1000,
        "true_kwh": math.fsum(true_wh.values()) / 1000,
        "placebo_sd_kwh": spread / 1000,
        "performance_ratio": result["performance_ratio"],
        "participation_rate": result["participation_rate"],
        "opt_out_rate": result["opt_out_rate"],
        "response_rate": result["response_rate"],
        "intervals": intervals,
        "vens": vens,
    }


def _commands(log: Path) -> list[dict[str, Any]]:
    """Return the commands of one gateway, from its own log."""
    found: dict[str, dict[str, Any]] = {}
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        step = json.loads(line)
        if step["kind"] != "command":
            continue
        one = found.setdefault(
            step["id"],
            {
                "device": step["device"],
                "capability": step["capability"],
                "value": step["value"],
                "until": step["until"],
                "acknowledged": False,
                "restored": False,
            },
        )
        one["acknowledged"] |= step["state"] == "confirmed"
        one["restored"] |= step["state"] == "restored"
    return list(found.values())


async def _with_constant_baseline(scene: Scene, result: dict[str, Any]) -> dict[str, Any]:
    """Replace every baseline by the home's mean of all days and hours: what the checks must not let pass."""
    broken: dict[str, Any] = json.loads(json.dumps(result))
    houses = make_houses(scene.plan.seed, scene.plan.homes, load_series(data_dir()))
    start, end = scene.plan.world_start - timedelta(days=20), scene.plan.world_start
    hours = (end - start) / timedelta(hours=1)
    mean_w = {house.home.id: house.natural_wh(start, end) / hours for house in houses}
    for one in broken["intervals"]:
        one["baseline_w"] = one["delivered_w"] = 0.0
    for ven in broken["vens"]:
        for own, pool in zip(ven["intervals"], broken["intervals"], strict=True) if ven["counts"] else ():
            own["baseline_w"] = mean_w[ven["ven_name"]]
            own["delivered_w"] = own["baseline_w"] - own["actual_w"]
            pool["baseline_w"] += own["baseline_w"]
            pool["delivered_w"] += own["delivered_w"]
        if ven["counts"]:
            ven["delivered_wh"] = math.fsum(one["delivered_w"] * one["duration_s"] / 3600 for one in ven["intervals"])
    broken["delivered_wh"] = math.fsum(ven["delivered_wh"] for ven in broken["vens"])
    return broken


def _print(scene: Scene, told: dict[str, Any], wrong: Sequence[str]) -> None:
    """Print the result table and the verdict."""
    table = Table("home", "opt", "ordered kWh", "delivered kWh", "true kWh", "commands", header_style="bold")
    for ven in told["vens"]:
        marks = [
            f"{one['device']} {one['value']}{' ✓' if one['acknowledged'] else ' ?'}{' ↺' if one['restored'] else ''}"
            for one in ven["commands"]
        ]
        numbers = (f"{ven[name]:.2f}" for name in ("ordered_kwh", "delivered_kwh", "true_kwh"))
        table.add_row(ven["ven_name"], ven["opt"], *numbers, ", ".join(marks))
    table.add_section()
    sums = (f"{told[name]:.2f}" for name in ("ordered_kwh", "delivered_kwh", "true_kwh"))
    table.add_row("all", "", *sums, f"placebo spread ±{told['placebo_sd_kwh']:.2f} kWh")
    scene.console.print(table)
    for one in told["intervals"]:
        start = datetime.fromisoformat(one["start"])
        scene.console.print(
            f"{start:%H:%M}  target {one['target_kw']:6.2f} kW   baseline {one['baseline_kw']:6.2f}   "
            f"actual {one['actual_kw']:6.2f}   delivered {one['delivered_kw']:6.2f}"
        )
    if told["performance_ratio"] is not None:
        scene.console.print(
            f"Performance {told['performance_ratio']:.0%}, participation {told['participation_rate']:.0%}, "
            f"opted out {told['opt_out_rate']:.0%}."
        )
    for fault in wrong:
        scene.console.print(f"[red]Fault:[/] {fault}")
    if not wrong:
        scene.console.print("[green]Everything held:[/] opts, switches, outbox, sums, energy against truth.")
