"""A VTN against a VEN that says anything at any time, with restarts in between.

Short in the test suite; `make fuzz` looks for longer (EVENLOAD_FUZZ_SECONDS).
"""

import asyncio
import contextlib
import hashlib
import os
import re
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from random import Random

import aiohttp
import pytest
from aiohttp import web
from codec_strategies import MESSAGES
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from core.errors import EvenloadError
from core.spans import Duration
from openadr.v20b import messages as m
from openadr.v20b.decode import UnreadableError, WireError, decode
from openadr.v20b.encode import encode
from support.vtn_world import MINUTE, Ven, migrated_sqlite, open_copy, power, usage, world_on
from vtn.services import dispatch_list, opt, ven_view
from vtn.services.dispatch_list import DispatchFilter
from vtn.services.settings import VtnSettings, WantedReport
from vtn.store.database import Database
from vtn.store.tables import METADATA
from vtn.transport.v20b.http import SERVICES, Edge, OpenADRServer
from web.connections import Connections
from web.listening import Site

SECONDS = float(os.environ.get("EVENLOAD_FUZZ_SECONDS", "0"))
_ROUND = settings(
    deadline=None,
    max_examples=60 if SECONDS else 5,
    suppress_health_check=list(HealthCheck),
    derandomize=not SECONDS,
    database=None,
    phases=(Phase.generate,),  # a conversation is told in whole when it fails; making it smaller takes minutes
)
_SETTINGS = VtnSettings(
    "vtn", wanted_reports=(WantedReport("TELEMETRY_USAGE", MINUTE, MINUTE),), own_reports_after=Duration()
)
_EDGE = Edge(proxy_header="X-Fingerprint", proxy_secret="the secret of a proxy")
_OWN_WORD = (m.CreatedEvent, m.RegisteredReport, m.CancelReport)
"""Refused in part only: good answers beside a bad one count (EV-48), and so do a receipt of our metadata (RP-13) and
the end of a report beside that of an unknown one (RP-60)."""
_COUNTS = tuple({"waiting_certificate", "ven_fault"} & set(METADATA.tables))
"""Tables that note refusals."""

# What is schema-valid, and seldom thought of.
_ODD = {
    rb"(?<=<xcal:duration>)-?P[^<]*(?=</xcal:duration>)": (b"P9999Y", b"-P9999Y", b"P1M", b"PT0S", b"P999999999999D"),
    rb"(?<=<xcal:date-time>)[^<]*(?=</xcal:date-time>)": (b"0001-01-01T00:00:00Z", b"9999-12-31T23:59:59Z"),
    rb"(?<=<ei:value>)[^<]*(?=</ei:value>)": (b"NaN", b"INF", b"-INF", b"3.4e38", b"-0.0"),
    rb"(?<=<oadr:oadrMinPeriod>)[^<]*(?=</oadr:oadrMinPeriod>)": (b"P9999Y", b"-PT1S", b"P1M"),
    rb"(?<=<ei:modificationNumber>)[^<]*(?=</ei:modificationNumber>)": (b"0", b"4294967295"),
}


@dataclass
class Facts:
    """What fits the VTN under test, by the names of fields."""

    fitting: dict[str, tuple]

    def fit(self, value, random, name=""):
        """Return a message (or part) in which most ids are those that the VTN knows."""
        known = self.fitting.get(name)
        if known and random.random() < 0.8:
            return random.choice(known)
        if is_dataclass(value) and not isinstance(value, type):
            changes = {
                one.name: self.fit(getattr(value, one.name), random, one.name) for one in fields(value) if one.init
            }
            with contextlib.suppress(Exception):  # a value that its own type refuses is none that can be sent
                return replace(value, **changes)
            return value
        if isinstance(value, tuple) and not hasattr(value, "_fields"):
            return tuple(self.fit(one, random, name.removesuffix("s")) for one in value)
        return value


def bent(body, random):
    """Return a message with odd values here and there."""
    for pattern, values in _ODD.items():
        if random.random() < 0.3:
            body = re.sub(pattern, lambda _, values=values: random.choice(values), body)
    return body


class Trial:
    """A VTN on a database that outlives it, a hostile VEN and a good one."""

    def __init__(self, path):
        self.path = path
        self.said = Counter()

    @contextlib.asynccontextmanager
    async def running(self):
        """Run the VTN until the block ends."""
        async with world_on(await Database.open(f"sqlite:///{self.path}"), _SETTINGS) as self.world:
            runner = web.ServerRunner(
                web.Server(OpenADRServer(self.world.vtn, _EDGE, CollectorRegistry()).handle, access_log=None)
            )
            await runner.setup()
            await Site(runner, "127.0.0.1", 0, Connections(), trusted=True).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/OpenADR2/Simple/2.0b/"
            async with aiohttp.ClientSession() as self.session:
                yield
            await runner.cleanup()

    async def furnish(self):
        """Make both VENs, with resources, a report that is asked for and an event."""
        self.bad, self.good = await self.world.ven(), await self.world.ven()
        asked = await self.bad.offer(usage("meter", "car"))
        self.dispatch_id = await self.world.dispatch(self.bad, self.good, signals=(power(-1000.0),))
        events = [(await ven.events())[0].event for ven in (self.bad, self.good)]
        await self.bad.poll()
        self.facts = Facts(
            {
                "ven_id": (self.bad.ven_id, self.bad.ven_id, self.bad.ven_id, self.good.ven_id, None),
                "registration_id": (self.bad.registration_id,),
                "event_id": tuple(event.event_id for event in events),
                "modification_number": (0,),
                "request_id": (asked[0].request_id, "q"),
                "report_request_id": (asked[0].request_id,),
                "pending": ((asked[0].request_id,),),
                "specifier_id": ("usage", "METADATA", "TELEMETRY_USAGE", "HISTORY_USAGE"),
                "name": ("TELEMETRY_USAGE", "TELEMETRY_STATUS", "HISTORY_USAGE"),
                "r_id": ("meter", "car", "energy"),
                "resource_id": ("meter", "car"),
                "opt_id": ("o1", "o2"),
            }
        )

    async def send(self, ven: Ven, service, body):
        headers = {
            "Content-Type": "application/xml",
            "X-Fingerprint": ven.peer.fingerprint,
            "X-Proxy-Secret": _EDGE.proxy_secret,
        }
        async with self.session.post(self.url + service, data=body, headers=headers) as answer:
            return answer.status, await answer.read()

    async def digest(self):
        dump = await self.world.dump(without=_COUNTS)
        return hashlib.sha256(repr(dump).encode()).hexdigest()

    async def say(self, kind, message, seed):
        """Send a message and see that it harms nobody."""
        random = Random(seed)  # noqa: S311  no secret
        try:
            body = bent(encode(self.facts.fit(message, random)), random)
        except (EvenloadError, ValueError, TypeError, AttributeError):
            return  # no message of ours: the codec's own tests see to that
        service = m.SERVICES.get(kind, "EiReport") if random.random() < 0.95 else random.choice(sorted(SERVICES))
        await self.send(self.bad, "EiRegisterParty", encode(m.QueryRegistration("q")))  # what was sent has arrived
        before = await self.digest()
        with capture_logs() as logs:
            status, answer = await self.send(self.bad, service, body)
            told = f"{service} {body.decode()}\n-> {status} {answer.decode()[:500]}\n{logs}"
            assert status in (200, 406), told
            assert not [one for one in logs if one["log_level"] in ("error", "critical") or "exc_info" in one], told
        self.said[kind.__name__, _code(status, answer)] += 1
        if _code(status, answer) != 200 and kind not in _OWN_WORD:
            assert await self.digest() == before, told
        await self.works(told)

    async def works(self, told):
        """See that the other VEN polls, and that operators can look at everything."""
        status, answer = await self.send(self.good, "OadrPoll", encode(m.Poll(self.good.ven_id)))
        assert _code(status, answer) == 200, told
        async with self.world.db.read() as conn:
            assert self.good.ven_id in await opt.effective(conn, self.dispatch_id), told
            assert await dispatch_list.listing(conn, DispatchFilter(), self.world.now)
            await ven_view.opts(conn, self.bad.ven_id)
            await ven_view.read(conn, self.bad.ven_id)
        status, answer = await self.send(self.bad, "OadrPoll", encode(m.Poll(self.bad.ven_id)))
        assert status == 200, told

    async def restarted_after(self, steps):
        """Say some messages, stop, and start again on what is stored, again and again."""
        first = True
        for part in range(0, len(steps), 4):
            async with self.running():
                if first:
                    await self.furnish()
                    first = False
                else:
                    self.bad.world = self.good.world = self.world
                for kind, message, seed in steps[part : part + 4]:
                    await self.say(kind, message, seed)


def _code(status, answer):
    """Return the response code of an answer, or its HTTP status."""
    if status != 200:
        return status
    try:
        message = decode(answer, strict=True)
    except (UnreadableError, WireError) as error:
        raise AssertionError(f"our own answer cannot be read: {error}: {answer[:1000]}") from error
    response = getattr(message, "response", None)
    return 200 if response is None else response.code


@st.composite
def conversations(draw):
    """Return messages of all kinds, each with a seed for what is bent in it."""
    kinds = st.sampled_from(sorted(MESSAGES, key=lambda kind: kind.__name__))
    some = draw(st.lists(kinds, min_size=12, max_size=12))
    return [(kind, draw(MESSAGES[kind]), draw(st.integers(0, 2**32))) for kind in some]


@pytest.mark.timeout(SECONDS + 300)
def test_nothing_that_a_ven_says_stops_floods_or_misleads_the_vtn(tmp_path):
    template = migrated_sqlite(tmp_path / "template.db")
    said = Counter()

    @_ROUND
    @given(conversations())
    def converse(steps):
        with tempfile.TemporaryDirectory(dir=tmp_path) as directory:
            path = Path(directory) / "vtn.db"
            asyncio.run(_close(open_copy(template, path)))
            trial = Trial(path)
            asyncio.run(trial.restarted_after(steps))
            said.update(trial.said)

    until = time.monotonic() + SECONDS
    converse()
    while time.monotonic() < until:
        converse()
    assert {code for _, code in said} >= {200}, said


async def _close(database):
    await database.close()
