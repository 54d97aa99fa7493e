"""Every message at the largest size that is taken: work, memory and storage grow with its size, not with its square."""

import tracemalloc
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

from openadr.model.opt import Availability, Opt, OptType
from openadr.model.registration import VenProfile
from openadr.model.report import METADATA, ReportRequest
from openadr.model.target import Target
from openadr.v20b import messages as m
from openadr.v20b.encode import encode
from support.vtn_world import HOUR, MINUTE, NOON, counted_statements, data, power, usage
from vtn.transport.v20b.http import Edge

MAX_BYTES = 128 * 1024
"""What the listener takes here; what is not linear shows at that size already."""
OK = m.Response(200, "OK", "q")
_STATEMENTS = 60
"""For a message of any size: some for itself, and some for each thousand of what it holds."""
_ROW_BYTES = 100
_BYTES_STORED = 6
_BYTES_HELD = 60
"""Storage and memory for each byte of the message: an element of XML becomes an object."""


def _names(count):
    return tuple(f"r{number}" for number in range(count))


def _own(count):
    return (_names(400) * (count // 400 + 1))[:count]


def _offers(ven, count):
    one = usage("meter")
    return m.RegisterReport("q", tuple(replace(one, specifier_id=f"s{number}") for number in range(count)), ven.ven_id)


def _opt(ven, **what):
    said = {"opt_id": "o", "opt_type": OptType.OUT, "reason": "economic", "created_at": NOON} | what
    return m.CreateOpt(ven.ven_id, "q", Opt(**said))


def _metadata_requests(count):
    return tuple(ReportRequest(name, METADATA, ()) for name in _names(count))


def _availabilities(count):
    return tuple(Availability(NOON + timedelta(hours=number), MINUTE) for number in range(count))


MESSAGES = {
    "poll": lambda ven, n: m.Poll(ven.ven_id + "x" * 8 * n),
    "event request": lambda ven, n: m.RequestEvent(ven.ven_id, "q" * 8 * n),
    "event answers": lambda ven, n: m.CreatedEvent(
        ven.ven_id, OK, tuple(m.EventResponse(ven.event_id, 0, list(OptType)[k % 2], "q") for k in range(min(n, 1000)))
    ),
    "answers to strange events": lambda ven, n: m.CreatedEvent(
        ven.ven_id, OK, tuple(m.EventResponse(name, 0, OptType.IN, "q") for name in _names(min(n, 1000)))
    ),
    "opt of own resources": lambda ven, n: _opt(
        ven, availability=_availabilities(100), target=Target(resource_ids=_own(n))
    ),
    "opt of strange resources": lambda ven, n: _opt(
        ven, availability=_availabilities(1), target=Target(resource_ids=tuple(f"s{k}" for k in range(n)))
    ),
    "opt of an event": lambda ven, n: _opt(
        ven, event_id=ven.event_id, modification_number=0, target=Target(resource_ids=_own(n))
    ),
    "opt of many times": lambda ven, n: _opt(ven, availability=_availabilities(n)),
    "opt with a long reason": lambda ven, n: _opt(ven, availability=_availabilities(1), reason="x-" + "r" * 8 * n),
    "opt cancelled": lambda ven, n: m.CancelOpt(ven.ven_id, "q", "o" * 8 * n),
    "many offers": _offers,
    "an offer of many data points": lambda ven, n: m.RegisterReport("q", (usage(*_names(n)),), ven.ven_id),
    "many requests on our metadata": lambda ven, n: m.RegisteredReport(OK, _metadata_requests(n), ven.ven_id),
    "many requests for our metadata": lambda ven, n: m.CreateReport("q", _metadata_requests(n), ven.ven_id),
    "many pending requests": lambda ven, n: m.CreatedReport(OK, _names(n), ven.ven_id),
    "many intervals": lambda ven, n: m.UpdateReport(
        "q", (data(ven.asked, NOON, *map(float, range(n)), r_id="r1"),), ven.ven_id
    ),
    "many reports": lambda ven, n: m.UpdateReport(
        "q", tuple(data(ven.asked, NOON, 1.0, r_id=name) for name in _names(min(n, 400))), ven.ven_id
    ),
    "many cancelled": lambda ven, n: m.CancelReport("q", _names(n), report_to_follow=False, ven_id=ven.ven_id),
    "many were cancelled": lambda ven, n: m.CanceledReport(OK, _names(n), ven.ven_id),
    "registration": lambda _, n: m.CreatePartyRegistration("q", VenProfile(ven_name="n" * 8 * n)),
    "query": lambda _, n: m.QueryRegistration("q" * 8 * n),
    "registration cancelled": lambda ven, n: m.CancelPartyRegistration("q", "r" * 8 * n, ven.ven_id),
    "cancellation confirmed": lambda ven, n: m.CanceledPartyRegistration(OK, "r" * 8 * n, ven.ven_id),
    "update confirmed": lambda ven, n: m.UpdatedReport(replace(OK, description="d" * 8 * n), ven_id=ven.ven_id),
    "response": lambda ven, n: m.OadrResponse(replace(OK, description="d" * 8 * n), ven.ven_id),
}


def test_every_type_that_a_ven_may_send_is_among_them():
    ven = SimpleNamespace(ven_id="v", event_id="e", asked="a")
    ours = {m.DistributeEvent, m.RequestReregistration}
    assert {type(build(ven, 1)) for build in MESSAGES.values()} == set(m.SERVICES) - ours


def _largest(build, ven):
    """Return the message with as many parts as fit."""
    few, more = len(encode(build(ven, 400))), len(encode(build(ven, 800)))
    count = 800 if more == few else 400 + (MAX_BYTES - few) * 400 // (more - few)
    message = encode(build(ven, count))
    while len(message) > MAX_BYTES:
        count = count * 99 // 100
        message = encode(build(ven, count))
    return message


async def _furnished(line):
    """Give the VEN 400 resources and data points, an event and a report that was asked for."""
    ven = line.home
    (ven.asked,) = await ven.offer(usage(*_names(400)))
    await line.world.dispatch(ven, signals=(power(-1.0),), duration=HOUR)
    ((event,),) = [[each.event for each in await ven.events()]]
    ven.event_id = event.event_id
    return ven


async def _size(world):
    async with world.db.read() as conn:
        count = (await conn.exec_driver_sql("PRAGMA page_count")).scalar_one()
        size = (await conn.exec_driver_sql("PRAGMA page_size")).scalar_one()
    rows = await world.dump()
    return sum(map(len, rows.values())), count * size


_STATEMENTS_EACH = {"many reports": 4}
"""Of what is new in a message: a series is looked up and made by itself."""


async def test_work_for_a_message_is_linear_in_its_size(line_at):
    async with line_at(Edge(max_body_bytes=MAX_BYTES)) as line:
        await _send_all(line, await _furnished(line))


async def _send_all(line, ven):
    for name, build in MESSAGES.items():
        message = _largest(build, ven)
        service = m.SERVICES[type(build(ven, 1))]
        rows, stored = await _size(line.world)
        tracemalloc.start()
        try:
            with counted_statements() as statements:
                status, answer, _ = await line.send(message, service=service)
            held = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        more_rows, more_stored = await _size(line.world)
        figures = (name, len(message), len(statements), more_rows - rows, more_stored - stored, held, answer[-300:])
        most = _STATEMENTS + _STATEMENTS_EACH.get(name, 0) * (more_rows - rows)
        assert status == 200, figures
        assert len(statements) < most, figures
        assert more_rows - rows <= 20 + len(message) // _ROW_BYTES, figures
        assert more_stored - stored <= 100_000 + _BYTES_STORED * len(message), figures
        assert held < 2_000_000 + _BYTES_HELD * len(message), figures
