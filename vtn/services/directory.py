"""Who a certificate belongs to, and who has something waiting: hints in memory, the rows are the truth.

Kept fresh by change notification and a periodic resync, so that an empty poll touches no SQL (DESIGN, promises).
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import case, func, select, update

from core.clock import Clock
from vtn.services.outbox import OPEN, DoneBy, State
from vtn.store.database import Database
from vtn.store.tables import outbox, ven, ven_certificate


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a VEN. `due_at` is when the next outbox row may go, world time; None: nothing waits."""

    ven_id: str
    registration_id: str | None
    strict: bool
    due_at: datetime | None
    awaits_request: bool

    def is_due(self, now: datetime) -> bool:
        """Whether a poll must look into the outbox."""
        return self.due_at is not None and self.due_at <= now


class Directory:
    """The hints of one process."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._vens: dict[str, Known] = {}
        self._certificates: dict[str, tuple[str, datetime | None]] = {}
        self._fingerprints: dict[str, list[str]] = {}
        self._stale: set[str] = set()
        self._everything_stale = True
        self._refreshing = asyncio.Lock()
        self._seen: dict[str, datetime] = {}
        db.on_change(self._changed)

    def _changed(self, ven_ids: frozenset[str]) -> None:
        if ven_ids:
            self._stale |= ven_ids
        else:
            self._everything_stale = True

    def resync(self) -> None:
        """Have everything read again before the next message: bounds the harm of a lost notification."""
        self._everything_stale = True

    async def identify(self, fingerprint: str) -> Known | None:
        """Return the VEN whose valid, unrevoked certificate this is; expiry is machine time (SE-04, SE-07)."""
        await self.refresh()
        entry = self._certificates.get(fingerprint)
        if entry is None:
            return None
        ven_id, not_after = entry
        if not_after is not None and not_after <= datetime.now(UTC):
            return None
        return self._vens.get(ven_id)

    async def get(self, ven_id: str) -> Known | None:
        """Return what is known of a venID, compared byte for byte (GN-09)."""
        await self.refresh()
        return self._vens.get(ven_id)

    async def refresh(self) -> None:
        """Read again what has changed, and wait for whoever is doing so; free if nothing has."""
        if not (self._stale or self._everything_stale or self._refreshing.locked()):
            return
        async with self._refreshing:
            everything, self._everything_stale = self._everything_stale, False
            changed, self._stale = self._stale, set()
            try:
                if everything or changed:
                    await self._load(None if everything else changed)
            except BaseException:
                self._everything_stale |= everything
                self._stale |= changed
                raise

    async def _load(self, only: set[str] | None) -> None:
        waiting = (
            select(
                outbox.c.ven_id,
                func.min(outbox.c.due_at).label("due_at"),
                func.max(
                    case(((outbox.c.state == State.SENT) & (outbox.c.done_by == DoneBy.REQUEST), 1), else_=0)
                ).label("awaits_request"),
            )
            .where(outbox.c.state.in_(OPEN))
            .group_by(outbox.c.ven_id)
        )
        certificates = select(
            ven_certificate.c.fingerprint, ven_certificate.c.ven_id, ven_certificate.c.not_after
        ).where(ven_certificate.c.revoked_at.is_(None))
        vens = select(ven.c.id, ven.c.registration_id, ven.c.strict).where(ven.c.removed_at.is_(None))
        if only is not None and len(only) <= 500:  # noqa: PLR2004  beyond that, reading all is cheaper than naming them
            names = sorted(only)
            waiting = waiting.where(outbox.c.ven_id.in_(names))
            certificates = certificates.where(ven_certificate.c.ven_id.in_(names))
            vens = vens.where(ven.c.id.in_(names))
        else:
            only = None
        async with self._db.read() as conn:
            due = {row.ven_id: row for row in await conn.execute(waiting)}
            valid = (await conn.execute(certificates)).all()
            known = (await conn.execute(vens)).all()
        if only is None:
            self._vens, self._certificates, self._fingerprints = {}, {}, {}
        else:
            for ven_id in only:
                self._vens.pop(ven_id, None)
                for fingerprint in self._fingerprints.pop(ven_id, ()):
                    del self._certificates[fingerprint]
        for row in known:
            wait = due.get(row.id)
            self._vens[row.id] = Known(
                row.id,
                row.registration_id,
                row.strict,
                wait.due_at if wait else None,
                bool(wait.awaits_request) if wait else False,
            )
        for certificate in valid:
            self._certificates[certificate.fingerprint] = (certificate.ven_id, certificate.not_after)
            self._fingerprints.setdefault(certificate.ven_id, []).append(certificate.fingerprint)

    def seen(self, ven_id: str) -> None:
        """Note that a VEN spoke; written later, many in one go."""
        self._seen[ven_id] = self._clock.now()

    async def flush_seen(self) -> None:
        """Write who was seen since the last time."""
        seen, self._seen = self._seen, {}
        if not seen:
            return
        try:
            async with self._db.write() as tx:
                for ven_id, at in seen.items():
                    await tx.conn.execute(update(ven).where(ven.c.id == ven_id).values(last_seen_at=at))
        except BaseException:
            self._seen = seen | self._seen
            raise
