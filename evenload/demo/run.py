"""The demo, told from beginning to end: processes, enrolment, an event, its result, the verdict.

broker - houses                              (MQTT, their own log)
|
gateways (VENs) - mutual TLS - VTN - REST - BRP (buys the evening's flexibility)
                                |
                                console, operator's commands
"""

import asyncio
import json
import math
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from core.errors import EvenloadError
from core.spans import Span, day_in_words
from evenload.demo import trade
from evenload.demo.checks import Evidence, faults
from evenload.demo.data import data_dir, load_series
from evenload.demo.home_log import LOG_NAME, read_log, switches
from evenload.demo.learning import Outlook, outlook
from evenload.demo.model import House, make_houses
from evenload.demo.placebo import placebo_of
from evenload.demo.plan import ENOUGH_HOMES, NEWCOMER, DemoPlan
from evenload.demo.processes import Stage, is_free
from evenload.demo.setup import CONSOLE_PORT, Scene, set_up, until_ready, watch, window_of
from evenload.demo.trade import Bought
from metrics.presets import PRESETS

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
        newcomer = NEWCOMER if options.households >= ENOUGH_HOMES else None
        plan = replace(DemoPlan(), homes=options.households, seed=options.seed, newcomer=newcomer)
        fault = options.fault if options.fault != CONSTANT_BASELINE else None
        port = CONSOLE_PORT if not options.once and is_free(CONSOLE_PORT) else None
        scene = await set_up(plan, options.speed, stage, console, fault=fault, console_port=port)
        if not options.once:
            console.print(f"Watch it in the console (this link works once): {await scene.login_link()}")
        told, wrong = await _play(scene, options)
        _print(scene, told, wrong)
        if options.json_file is not None:
            options.json_file.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        if not options.once:
            console.print(f"The VTN goes on; press Ctrl-C to stop everything. Console: {await scene.login_link()}")
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
        programme_id = await scene.programme_id()
        buyer = await trade.sign_contract(scene, programme_id)
        learning = await outlook(scene, programme_id, buyer)
        _tell_learning(scene, learning)
        window = window_of(scene)
        offer = await trade.ask(scene, buyer, window, round(scene.plan.order_w * scene.plan.homes))
        bought = await trade.accept(scene, buyer, offer)
        selected = await trade.chosen(scene, bought.activation_id)
        _tell_trade(scene, bought, window, selected)
        silent = await trade.silence_one(scene, [name for name, why in selected.items() if why == "called"])
        if silent is not None:
            scene.console.print(f"{silent}'s gateway falls silent.")
        out = await trade.opt_out_of_one(scene, bought.dispatch_id)
        scene.console.print(f"The people of {out} opt out.")
        await watch(scene, bought.dispatch_id, window, show)
        report = await trade.report(scene, buyer, bought.activation_id)
        result = await scene.command("event", "result", bought.dispatch_id)
        status = await scene.command("status")
    sale = Sale(bought, await trade.chosen(scene, bought.activation_id), report, learning)
    if options.fault == CONSTANT_BASELINE:
        result = await _with_constant_baseline(scene, result)
    return _judge(scene, result, sale, status["outbox"], window)


@dataclass(frozen=True, slots=True)
class Sale:
    """What was sold, who was chosen (VEN name -> why), the report that the BRP got, and who was learning before."""

    bought: Bought
    selected: dict[str, str]
    report: dict[str, Any]
    learning: Outlook


def _tell_learning(scene: Scene, learning: Outlook) -> None:
    for name, ven in learning.vens.items():
        day = day_in_words(date.fromisoformat(ven["ready_on"]))
        scene.console.print(f"{name} is new and learning: what it delivers can be measured from about {day} on.")


def _tell_trade(scene: Scene, bought: Bought, window: Span, selected: dict[str, str]) -> None:
    called = sum(why == "called" for why in selected.values())
    scene.console.print(
        f"The BRP asks for up to {bought.requested_kwh:.1f} kWh from {window.start:%H:%M} to {window.end:%H:%M}; "
        f"the pool offers {bought.offered_kwh:.1f} kWh; accepted. {called} of {len(selected)} homes are called."
    )


def _judge(
    scene: Scene, result: dict[str, Any], sale: Sale, outbox: dict[str, int], window: Span
) -> tuple[dict[str, Any], list[str]]:
    """Compare what the VTN computed with what the houses know, and list what is wrong."""
    houses = make_houses(scene.plan.seed, scene.plan.homes, load_series(data_dir()))
    entries = read_log(scene.directory / LOG_NAME)
    switched = {house.home.id: switches(entries, house.home.id) for house in houses}
    told = _told(scene, result, sale, window, houses, switched)
    return told, faults(Evidence(told, switched, outbox, scene.plan.newcomer_name))


def _told(
    scene: Scene,
    result: dict[str, Any],
    sale: Sale,
    window: Span,
    houses: Sequence[House],
    switched: dict[str, Any],
) -> dict[str, Any]:
    end = window.end or window.start
    true_wh = {house.home.id: house.true_wh(switched[house.home.id], window.start, end) for house in houses}
    counted = {one["ven_name"]: _counted(one["intervals"]) for one in result["vens"] if one["counts"]}
    calls = [(house, counted[house.home.id]) for house in houses if house.home.id in counted]
    spread = placebo_of(calls or [(house, window) for house in houses], PRESETS[scene.plan.baseline]).sd_wh
    called = {one["ven_name"]: one for one in result["vens"]}
    vens = [_ven(scene, name, called.get(name), sale, wh) for name, wh in true_wh.items()]
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
        "requested_kwh": sale.bought.requested_kwh,
        "offered_kwh": sale.bought.offered_kwh,
        "accepted_kwh": sale.bought.accepted_kwh,
        "ordered_kwh": result["ordered_wh"] / 1000,
        "delivered_kwh": (result["delivered_wh"] or 0.0) / 1000,
        "true_kwh": math.fsum(ven["true_kwh"] for ven in vens if ven["delivered_kwh"] is not None),
        "placebo_sd_kwh": spread / 1000,
        "performance_ratio": result["performance_ratio"],
        "participation_rate": result["participation_rate"],
        "opt_out_rate": result["opt_out_rate"],
        "response_rate": result["response_rate"],
        "intervals": intervals,
        "vens": vens,
        "learning": {"programme": sale.learning.programme, "brp": sale.learning.brp},
        "report": sale.report,
    }


def _counted(intervals: Sequence[dict[str, Any]]) -> Span:
    """Return the span of a home's intervals: one that was called late counts for a part of the event."""
    last = intervals[-1]
    end = datetime.fromisoformat(last["start"]) + timedelta(seconds=last["duration_s"])
    return Span(datetime.fromisoformat(intervals[0]["start"]), end)


def _ven(scene: Scene, name: str, ven: dict[str, Any] | None, sale: Sale, true_wh: float) -> dict[str, Any]:
    """Return what became of one home; `ven` is its part of the result, None if it was not called.

    What it delivered is None where it stayed in and that is not known; nothing is credited to who did not stay in.
    """
    delivered_wh = ven["delivered_wh"] if ven and (ven["opt"] == "optIn" or ven["counts"]) else 0.0
    return {
        "ven_name": name,
        "selected": sale.selected[name],
        "learning": sale.learning.vens.get(name),
        "opt": "not called" if ven is None else ven["opt"] or "no answer",
        "reason": ven and ven["reason"],
        "ordered_kwh": ven["ordered_wh"] / 1000 if ven else 0.0,
        "delivered_kwh": None if delivered_wh is None else delivered_wh / 1000,
        "true_kwh": true_wh / 1000,
        "commands": _commands(scene.directory / "homes" / name / "commands.jsonl"),
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
    by_start = {one["start"]: one for one in broken["intervals"]}
    for ven in broken["vens"]:
        for own in ven["intervals"] if ven["counts"] else ():
            pool = by_start[own["start"]]
            own["baseline_w"] = mean_w[ven["ven_name"]]
            own["delivered_w"] = own["baseline_w"] - own["actual_w"]
            pool["baseline_w"] += own["baseline_w"]
            pool["delivered_w"] += own["delivered_w"]
        if ven["counts"]:
            ven["delivered_wh"] = math.fsum(one["delivered_w"] * one["duration_s"] / 3600 for one in ven["intervals"])
    broken["delivered_wh"] = math.fsum(ven["delivered_wh"] or 0.0 for ven in broken["vens"])
    return broken


def _print(scene: Scene, figures: dict[str, Any], wrong: Sequence[str]) -> None:
    """Print the result table and the verdict."""
    table = Table(
        "home", "selected", "opt", "ordered kWh", "delivered kWh", "true kWh", "commands", header_style="bold"
    )
    for ven in figures["vens"]:
        marks = [
            f"{one['device']} {one['value']}{' ✓' if one['acknowledged'] else ' ?'}{' ↺' if one['restored'] else ''}"
            for one in ven["commands"]
        ]
        ordered, true = f"{ven['ordered_kwh']:.2f}", f"{ven['true_kwh']:.2f}"
        delivered = "learning" if ven["learning"] else _kwh(ven["delivered_kwh"])
        table.add_row(ven["ven_name"], ven["selected"], ven["opt"], ordered, delivered, true, ", ".join(marks))
    table.add_section()
    sums = (f"{figures[name]:.2f}" for name in ("ordered_kwh", "delivered_kwh", "true_kwh"))
    table.add_row("all", "", "", *sums, f"placebo spread ±{figures['placebo_sd_kwh']:.2f} kWh")
    scene.console.print(table)
    if any(ven["delivered_kwh"] is None for ven in figures["vens"]):
        scene.console.print("Delivered and true energy of all: without the homes whose delivery is not known.")
    for one in figures["intervals"]:
        start = datetime.fromisoformat(one["start"])
        scene.console.print(
            f"{start:%H:%M}  target {one['target_kw']:6.2f} kW   baseline {one['baseline_kw']:6.2f}   "
            f"actual {one['actual_kw']:6.2f}   delivered {one['delivered_kw']:6.2f}"
        )
    if figures["performance_ratio"] is not None:
        scene.console.print(
            f"Performance {figures['performance_ratio']:.0%}, participation {figures['participation_rate']:.0%}, "
            f"opted out {figures['opt_out_rate']:.0%}."
        )
    for fault in wrong:
        scene.console.print(f"[red]Fault:[/] {fault}")
    if not wrong:
        scene.console.print("[green]Everything held:[/] opts, switches, outbox, sums, energy against truth.")


def _kwh(value: float | None) -> str:
    return "not known" if value is None else f"{value:.2f}"
