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
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from core.errors import EvenloadError
from core.spans import Span
from evenload.demo.data import data_dir, load_series
from evenload.demo.houselog import LOG_NAME, read_log, switches
from evenload.demo.model import House, make_houses
from evenload.demo.placebo import placebo_of
from evenload.demo.plan import DemoPlan
from evenload.demo.scene import SILENT, Scene, order, set_up, until_ready, watch
from evenload.demo.stage import Stage
from evenload.demo.verdict import Evidence, faults
from metrics.rules import PRESETS

CONSTANT_BASELINE = "constant-baseline"


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


async def tell(options: Options) -> int:
    """Tell the story and return the exit code: 0 if everything held."""
    console = Console()
    task = asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel if task else lambda: None)
    directory = (options.run or Path(tempfile.mkdtemp(prefix="evenload-demo-"))).resolve()
    stage = Stage(directory)
    try:
        plan = replace(DemoPlan(), homes=options.households, seed=options.seed)
        fault = options.fault if options.fault != CONSTANT_BASELINE else None
        scene = await set_up(plan, options.speed, stage, console, fault=fault)
        told, wrong = await _play(scene, options)
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


async def _play(scene: Scene, options: Options) -> tuple[dict[str, Any], list[str]]:
    """Play the story from registration to result."""
    columns = (SpinnerColumn(), TextColumn("{task.fields[world]}"), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=scene.console, transient=True) as progress:
        bar = progress.add_task("", total=100, world="")

        def show(done: float, text: str) -> None:
            progress.update(bar, completed=done, description=text, world=f"{scene.clock.now():%a %d %b %Y %H:%M}")

        await until_ready(scene, show)
        if SILENT in scene.stage.processes:
            await scene.stage.kill(SILENT)
            scene.console.print(f"home-{scene.plan.silent:02d}'s gateway falls silent.")
        dispatch_id, window = await order(scene)
        await watch(scene, dispatch_id, window, show)
        result = await scene.command("event", "result", dispatch_id)
        status = await scene.command("status")
    if options.fault == CONSTANT_BASELINE:
        result = await _with_constant_baseline(scene, result)
    return _judge(scene, result, status["outbox"], window)


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
        "speed": scene.clock.speed,
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
