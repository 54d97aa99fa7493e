"""What /metrics says of the VTN as a whole, read from the store now and then: the outbox by state, and the VENs."""

from prometheus_client import CollectorRegistry, Gauge

from core.clock import Clock
from vtn.services import fleet, outbox
from vtn.services.outbox import State
from vtn.store.database import Database


class Gauges:
    """The numbers of one database; every process on it shows the same ones."""

    def __init__(self, db: Database, clock: Clock, registry: CollectorRegistry, stale_after_s: float) -> None:
        self._db = db
        self._clock = clock
        self._stale_after_s = stale_after_s
        self._outbox = Gauge("evenload_outbox_rows", "Messages for VENs by state.", ["state"], registry=registry)
        self._vens = Gauge("evenload_vens", "VENs that were not removed.", registry=registry)
        self._registered = Gauge("evenload_vens_registered", "VENs that are registered.", registry=registry)
        self._online = Gauge("evenload_vens_online", "VENs that were heard of lately.", registry=registry)
        self._unreachable = Gauge(
            "evenload_vens_unreachable", "VENs in push mode that take no messages.", registry=registry
        )

    async def refresh(self) -> None:
        """Read them again."""
        async with self._db.read() as conn:
            rows = await outbox.count_open(conn, self._clock.now())
            vens = await fleet.counts(conn, self._clock.now(), self._stale_after_s)
        for state in State:
            self._outbox.labels(state).set(rows.get(state, 0))
        self._vens.set(vens.total)
        self._registered.set(vens.registered)
        self._online.set(vens.online)
        self._unreachable.set(vens.unreachable)
