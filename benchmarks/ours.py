"""evenload's VTN as the process under test: what `evenload vtn --config` runs. `python -m benchmarks.ours SETTINGS`."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvloop
from sqlalchemy import func, select

from benchmarks.control import EVENT_FOR_S, EVENT_IN_S, EVENT_LEVEL, controlled, until_told
from core.spans import Duration
from evenload.logs import configure_logs
from evenload.process_memory import settle, spare
from evenload.server import Running, running
from evenload.settings import load_settings
from openadr.model.signal import Interval, Signal
from vtn.services import dispatch, programme, provisioning, sessions
from vtn.services.dispatch import Order
from vtn.store.tables import chunk, opt

_WHO = "benchmark"


class Ours:
    """A running VTN, through its own services."""

    def __init__(self, vtn: Running) -> None:
        self._db = vtn.db
        self._clock = vtn.clock
        self._programme_id = ""

    async def prepare(self) -> None:
        """Make the programme that events belong to."""
        async with self._db.write() as tx:
            made = await programme.create(
                tx, "Benchmark", "http://benchmark.example", programme.Parameters(), self._clock.now(), who=_WHO
            )
        self._programme_id = made.id

    async def sign_in_link(self) -> str:
        """Return where the operator who was made with the directory signs in to the console."""
        now = datetime.now(UTC)
        async with self._db.write() as tx:
            return f"/link/{await sessions.new_link(tx, 'admin', now, now, who=_WHO)}"

    async def add_vens(self, vens: list[dict[str, str]]) -> list[str]:
        """Create VENs with their certificates."""
        now = self._clock.now()
        ven_ids = []
        async with self._db.write() as tx:
            for one in vens:
                ven_id = await provisioning.create_ven(tx, one["name"], now, who=_WHO)
                if one["fingerprint"]:
                    await provisioning.add_fingerprint(tx, ven_id, one["fingerprint"], now, who=_WHO)
                ven_ids.append(ven_id)
        return ven_ids

    async def send_events(self, ven_ids: list[str]) -> None:
        """Create a dispatch with one event for each VEN."""
        now = self._clock.now()
        lasting = Duration.of(seconds=EVENT_FOR_S)
        simple = Signal("simple", "level", "s1", (Interval(lasting, float(EVENT_LEVEL)),))
        order = Order(
            self._programme_id, now + timedelta(seconds=EVENT_IN_S), lasting, (simple,), ven_ids=tuple(ven_ids)
        )
        async with self._db.write() as tx:
            await dispatch.create(tx, order, now, who=_WHO)

    async def counts(self) -> dict[str, int]:
        """Count optIns and values as the database holds them."""
        async with self._db.read() as conn:
            opts = await conn.scalar(select(func.count()).select_from(opt))
            values = await conn.scalar(select(func.sum(func.json_array_length(chunk.c["values"]))))
        return {"opts": opts or 0, "values": values or 0}


async def main(config: Path) -> None:
    """Run until standard input ends."""
    spare()
    async with running(load_settings(config)) as vtn:
        ours = Ours(vtn)
        await ours.prepare()
        link = f"{vtn.console_url}{await ours.sign_in_link()}"
        settle()
        async with controlled(ours, openadr=vtn.openadr_url, api=vtn.api_url, link=link):
            await until_told()


if __name__ == "__main__":
    configure_logs("info")
    uvloop.run(main(Path(sys.argv[1])))
