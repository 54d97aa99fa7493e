"""Who a certificate belongs to, and who has something waiting: hints in memory, the rows are the truth.

Kept fresh by change notification and a periodic resync, so that an empty poll touches no SQL.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import bindparam, case, func, select, update

from core.clock import Clock
from core.errors import EvenloadError
from openadr.model.registration import Mode, Profile, SignaturePolicy
from vtn.services.outbox import OPEN, DoneBy, State
from vtn.store.database import Database
from vtn.store.tables import outbox, push_line, ven, ven_certificate

_VENS = (
    select(
        ven.c.id,
        ven.c.registration_id,
        ven.c.strict,
        ven.c.signatures,
        ven.c.xml_signature,
        ven.c.protocol_version,
        ven.c.mode,
        ven.c.address,
        ven.c.unreachable_at,
        push_line.c.retry_at,
        push_line.c.leased_until,
    )
    .select_from(ven.outerjoin(push_line, push_line.c.ven_id == ven.c.id))
    .where(ven.c.removed_at.is_(None))
)
_SEEN = update(ven).where(ven.c.id == bindparam("ven")).values(last_seen_at=bindparam("at"))


@dataclass(frozen=True, slots=True)
class VenState:
    """What is known of a VEN. `due_at` is when the next outbox row may go, world time; None: nothing waits."""

    ven_id: str
    registration_id: str | None
    strict: bool
    due_at: datetime | None
    awaits_request: bool
    signatures: SignaturePolicy = SignaturePolicy.WHEN_PRESENT
    xml_signature: bool = False
    """It asked for signed messages when it registered."""
    protocol_version: str = Profile.B
    push_at: datetime | None = None
    """From when messages may be pushed to it, machine time; None: at once."""
    unreachable: bool = False
    """Its address takes no messages."""

    def is_due(self, now: datetime) -> bool:
        """Whether a poll must look into the outbox."""
        return self.due_at is not None and self.due_at <= now


@dataclass(frozen=True, slots=True)
class _Reading:
    """Hints being read again: which (None: all), and for those who wait what went wrong, if anything did."""

    ven_ids: set[str] | None
    failure: asyncio.Future[EvenloadError | None]

    def covers(self, ven_id: str) -> bool:
        return self.ven_ids is None or ven_id in self.ven_ids


class VenCache:
    """The hints of one process."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._vens: dict[str, VenState] = {}
        self._certificates: dict[str, tuple[str, datetime | None]] = {}
        self._fingerprints: dict[str, list[str]] = {}
        self._stale: set[str] = set()
        self._everything_stale = True
        self._reading: _Reading | None = None
        self._seen: dict[str, datetime] = {}
        self._pushed: set[str] = set()
        db.on_change(self._changed)

    def _changed(self, ven_ids: frozenset[str]) -> None:
        if ven_ids:
            self._stale |= ven_ids
        else:
            self._everything_stale = True

    def resync(self) -> None:
        """Have everything read again before the next message: bounds the harm of a lost notification."""
        self._everything_stale = True

    async def identify(self, fingerprint: str) -> VenState | None:
        """Return the VEN whose valid, unrevoked certificate this is; expiry is machine time (SE-04, SE-07)."""
        entry = self._certificates.get(fingerprint)
        if entry is None or self._is_stale(entry[0]):
            await self.refresh()
            entry = self._certificates.get(fingerprint)
        return None if entry is None or _has_ended(entry[1]) else self._vens.get(entry[0])

    def owner(self, fingerprint: str) -> str | None:
        """Return the venID of a valid, unrevoked certificate as it is known now: nothing is read again."""
        entry = self._certificates.get(fingerprint)
        return None if entry is None or _has_ended(entry[1]) else entry[0]

    def has(self, ven_id: str) -> bool:
        """Tell whether there is a VEN of that id, as it is known now: nothing is read again."""
        return ven_id in self._vens

    async def get(self, ven_id: str) -> VenState | None:
        """Return what is known of a venID, compared byte for byte (GN-09)."""
        if self._is_stale(ven_id):
            await self.refresh()
        return self._vens.get(ven_id)

    async def to_push(self, machine_now: datetime) -> list[str]:
        """Return the VENs in push mode for which something is due and nobody works, who waits longest first."""
        await self.refresh()
        now = self._clock.now()
        due = [
            (ven.due_at, ven_id)
            for ven_id in self._pushed
            if (ven := self._vens[ven_id]).due_at is not None
            and ven.due_at <= now
            and (ven.push_at is None or ven.push_at <= machine_now)
        ]
        return [ven_id for _, ven_id in sorted(due)]

    async def named(self, name: str) -> VenState | None:
        """Return the VEN of that name, which is unique. For registrations without certificate: it asks the store."""
        query = select(ven.c.id).where((ven.c.name == name) & ven.c.removed_at.is_(None))
        async with self._db.read() as conn:
            ven_id = (await conn.execute(query)).scalar_one_or_none()
        return None if ven_id is None else await self.get(ven_id)

    def _is_stale(self, ven_id: str) -> bool:
        reading = self._reading
        return self._everything_stale or ven_id in self._stale or (reading is not None and reading.covers(ven_id))

    async def refresh(self) -> None:
        """Read again what has changed, or wait for whoever is doing so; free if nothing has.

        Only who asks for a VEN that has changed comes here, so that others' polls go on while an event goes out.
        """
        while self._stale or self._everything_stale or self._reading is not None:
            if self._reading is None:
                await self._read_again()
            elif (failure := await asyncio.shield(self._reading.failure)) is not None:
                raise failure

    async def _read_again(self) -> None:
        everything, self._everything_stale = self._everything_stale, False
        changed, self._stale = self._stale, set()
        reading = self._reading = _Reading(None if everything else changed, asyncio.Future())
        failure: EvenloadError | None = None
        try:
            await self._load(reading.ven_ids)
        except BaseException as error:
            failure = error if isinstance(error, EvenloadError) else None
            self._everything_stale |= everything
            self._stale |= changed
            raise
        finally:
            self._reading = None
            reading.failure.set_result(failure)

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
        vens = _VENS
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
            self._vens, self._certificates, self._fingerprints, self._pushed = {}, {}, {}, set()
        else:
            self._pushed -= only
            for ven_id in only:
                self._vens.pop(ven_id, None)
                for fingerprint in self._fingerprints.pop(ven_id, ()):
                    del self._certificates[fingerprint]
        for row in known:
            wait = due.get(row.id)
            self._vens[row.id] = VenState(
                row.id,
                row.registration_id,
                row.strict,
                wait.due_at if wait else None,
                bool(wait.awaits_request) if wait else False,
                SignaturePolicy(row.signatures),
                row.xml_signature,
                row.protocol_version,
                max((at for at in (row.retry_at, row.leased_until) if at is not None), default=None),
                row.unreachable_at is not None,
            )
            if row.mode == Mode.PUSH and row.address and row.registration_id:
                self._pushed.add(row.id)
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
                await tx.conn.execute(_SEEN, [{"ven": ven_id, "at": at} for ven_id, at in sorted(seen.items())])
        except BaseException:
            self._seen = seen | self._seen
            raise


def _has_ended(not_after: datetime | None) -> bool:
    return not_after is not None and not_after <= datetime.now(UTC)
