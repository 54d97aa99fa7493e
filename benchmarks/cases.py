"""What is measured. Each case runs on one server and returns a figure; `benchmarks.__main__` compares two servers."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.request import HTTPCookieProcessor, HTTPSHandler, OpenerDirector, build_opener

from benchmarks import gateway
from benchmarks.identities import Site
from benchmarks.load import DriveError, Fleet, Load, Script, Ven, memory_mb
from benchmarks.servers import Server
from certs.kinds import KeyType

_WITHIN_S: Final = 180.0
_AT_ONCE: Final = 20
"""VENs that register at a time: of a thousand at once, a slow host tells some to come back later."""
_QUARTER: Final = 15
_POLLS: Final = 5
_FEW: Final = 10
"""Polls that each VEN signs before the peer is measured: it would not get through more before they are too old."""
ANSWERS: Final = ("/v1/vens?limit=100", "/v1/dispatches?limit=100", "/v1/audit?limit=100", "/metrics")
PAGES: Final = ("/", "/fleet", "/dispatches", "/potential", "/market", "/programmes", "/audit", "/system")
"""What an operator and a program look at while memory is measured."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of it: VENs that poll, VENs that report, homes of a dispatch, and for how long each time."""

    pollers: int = 64
    reporters: int = 32
    homes: int = 1000
    warm_s: float = 0.5
    seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class Figure:
    """The figure of one run: `value` in the case's unit, the server's CPU time a message, and the driver's share."""

    value: float
    cpu_us: float
    driver_cpu: float


def mean(figures: Sequence[Figure]) -> Figure:
    """Return the mean of slices of the same length."""
    count = len(figures)
    return Figure(
        sum(one.value for one in figures) / count,
        sum(one.cpu_us for one in figures) / count,
        sum(one.driver_cpu for one in figures) / count,
    )


@dataclass(frozen=True, slots=True)
class Stage:
    """A server with what a case needs around it."""

    server: Server
    site: Site
    plan: Plan


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table. `fresh`: each run gets servers of its own. `more_is_better` says which way is good.

    `most_rounds` are enough, where rounds hardly differ.
    """

    name: str
    what: str
    unit: str
    tls: bool
    vens: Callable[[Plan], int]
    prepare: Callable[[Fleet], Awaitable[None]]
    run: Callable[[Fleet, Stage], Awaitable[Figure]]
    fresh: bool = False
    more_is_better: bool = True
    most_rounds: int = 5
    signs: KeyType | None = None
    """With which kind of keys every message is signed and verified, if at all."""


@asynccontextmanager
async def connected(server: Server, vens: Sequence[Ven]) -> AsyncIterator[Fleet]:
    """Have VENs known to a server, each with its connection."""
    await server.add_vens(vens)
    fleet = Fleet(server.openadr, server.pid, vens)
    await fleet.connect()
    try:
        yield fleet
    finally:
        await fleet.close()


async def _registered(fleet: Fleet) -> None:
    await fleet.run(partial(gateway.sign_up, reports=False), within_s=_WITHIN_S, at_once=_AT_ONCE)


async def _signing(fleet: Fleet) -> None:
    def script(ven: Ven) -> Script:
        assert ven.signer is not None  # noqa: S101  cases that sign have such VENs
        return gateway.signed(gateway.sign_up(ven, reports=False), ven.signer)

    await fleet.run(script, within_s=_WITHIN_S)


async def _signed_poll(fleet: Fleet, stage: Stage, *, prepared: int) -> Figure:
    for ven in fleet.vens:
        gateway.prepare_polls(ven, _FEW if stage.server.name == "peer" else prepared)
    return _rate(await fleet.drive(gateway.signed_polls, warm_s=stage.plan.warm_s, seconds=stage.plan.seconds))


async def _reporting(fleet: Fleet) -> None:
    await fleet.run(partial(gateway.sign_up, reports=True), within_s=_WITHIN_S, at_once=_AT_ONCE)


def _rate(load: Load) -> Figure:
    return Figure(load.per_s, load.cpu_us, load.driver_cpu)


async def _poll(fleet: Fleet, stage: Stage) -> Figure:
    return _rate(await fleet.drive(gateway.poll_for_ever, warm_s=stage.plan.warm_s, seconds=stage.plan.seconds))


async def _report(fleet: Fleet, stage: Stage, *, values: int) -> Figure:
    """Send reports; what was acknowledged must be there."""
    before = (await stage.server.counts())["values"]
    script = partial(gateway.report_for_ever, values=values)
    load = await fleet.drive(script, warm_s=stage.plan.warm_s, seconds=stage.plan.seconds)
    taken = (await stage.server.counts())["values"] - before
    if taken < load.answers * values:
        raise DriveError(f"{load.answers} reports of {values} values were acknowledged, but only {taken} values kept.")
    return _rate(load)


async def _dispatch(fleet: Fleet, stage: Stage) -> Figure:
    """Take the time from the order until the last VEN's optIn is acknowledged."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await stage.server.send_events(fleet.vens)
    load = await fleet.run(gateway.follow_event, within_s=_WITHIN_S)
    seconds = loop.time() - begun
    opts = (await stage.server.counts())["opts"]
    if opts != len(fleet.vens):
        raise DriveError(f"{len(fleet.vens)} VENs opted in, but {opts} optIns were taken.")
    return Figure(seconds, load.cpu_us, load.driver_cpu)


async def _memory(fleet: Fleet, stage: Stage) -> Figure:
    """Have VENs report, follow an event and poll while an operator looks on; return what the server then needs."""
    async with _watched(stage):
        report = partial(gateway.report_once, values=_QUARTER)
        load = await fleet.run(report, within_s=_WITHIN_S, at_once=_AT_ONCE)
        await stage.server.send_events(fleet.vens)
        await fleet.run(gateway.follow_event, within_s=_WITHIN_S, at_once=_AT_ONCE)
        for _ in range(_POLLS):
            await fleet.run(gateway.poll_once, within_s=_WITHIN_S)
        memory = memory_mb(stage.server.pid)
    return Figure(memory, load.cpu_us, load.driver_cpu)


@asynccontextmanager
async def _watched(stage: Stage) -> AsyncIterator[None]:
    """Have an operator look at our pages all the while; the peer has none. Fails if the operator could not."""
    if not stage.server.api:
        yield
        return
    watching = asyncio.create_task(_watch(stage))
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching  # raises what went wrong with the pages


async def _watch(stage: Stage) -> None:
    """Read the API, and walk the console's pages as a browser does once it has signed in."""
    server = stage.server
    context = ssl.create_default_context(cafile=str(stage.site.authority))
    program = build_opener(HTTPSHandler(context=context))
    program.addheaders = [("Authorization", f"Bearer {server.token}")]
    console = server.link.partition("/link/")[0]
    person = build_opener(HTTPCookieProcessor())
    person.addheaders = [("Origin", console)]

    def look(who: OpenerDirector, page: str, data: bytes | None = None) -> None:
        with who.open(page, data, timeout=60) as answer:
            answer.read()

    await asyncio.to_thread(look, person, server.link, b"")
    while True:
        for page in ANSWERS:
            await asyncio.to_thread(look, program, server.api + page)
        for page in PAGES:
            await asyncio.to_thread(look, person, console + page)
        await asyncio.sleep(0.2)


def _of_reports(values: int, *, tls: bool = False) -> Case:
    return Case(
        f"update-report-{values}{'-tls' if tls else ''}",
        f"oadrUpdateReport with {values} new values of one data point, {'mutual TLS' if tls else 'plain HTTP'}",
        "messages/s",
        tls,
        lambda plan: plan.reporters,
        _reporting,
        partial(_report, values=values),
    )


def _of_polls(*, tls: bool) -> Case:
    how = "mutual TLS" if tls else "plain HTTP"
    what = f"oadrPoll while nothing waits, {how}"
    return Case("poll-tls" if tls else "poll", what, "messages/s", tls, lambda plan: plan.pollers, _registered, _poll)


def _of_signed_polls(key_type: KeyType, prepared: int) -> Case:
    """`prepared`: how many polls each VEN signs before a stretch begins."""
    kind = "P-256" if key_type is KeyType.EC else "RSA-2048"
    return Case(
        f"poll-signed-{key_type}",
        f"oadrPoll while nothing waits, mutual TLS, poll and answer signed with {kind} and protected from replays",
        "messages/s",
        True,
        lambda plan: plan.pollers,
        _signing,
        partial(_signed_poll, prepared=prepared),
        signs=key_type,
    )


def _of_dispatch(*, tls: bool) -> Case:
    return Case(
        f"dispatch-1000{'-tls' if tls else ''}",
        f"one event to each of 1,000 VENs, from the order to the last optIn, {'mutual TLS' if tls else 'plain HTTP'}",
        "s",
        tls,
        lambda plan: plan.homes,
        _registered,
        _dispatch,
        fresh=True,
        more_is_better=False,
    )


def _of_memory(*, tls: bool) -> Case:
    return Case(
        f"memory-1000{'-tls' if tls else ''}",
        f"resident memory with 1,000 VENs, each on its open connection ({'mutual TLS' if tls else 'plain HTTP'}), "
        "after they registered two data points, sent a report of 15 values, followed an event and polled; on ours an "
        "operator walks the console and a program reads the API all the while",
        "MB",
        tls,
        lambda plan: plan.homes,
        _reporting,
        _memory,
        fresh=True,
        more_is_better=False,
        most_rounds=2,
    )


CASES: Final = {
    case.name: case
    for case in (
        _of_polls(tls=False),
        _of_polls(tls=True),
        _of_signed_polls(KeyType.EC, prepared=150),
        _of_signed_polls(KeyType.RSA, prepared=60),
        _of_reports(10),
        _of_reports(96),
        _of_dispatch(tls=False),
        _of_memory(tls=False),
        _of_memory(tls=True),
    )
}
"""The table's lines."""

MORE: Final = {case.name: case for case in (_of_reports(96, tls=True), _of_dispatch(tls=True))}
"""Cases that are only run when asked for by name."""
