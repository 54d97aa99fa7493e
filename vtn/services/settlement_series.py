"""Which series count as a VEN's consumption: for results, baselines, derived potential and the live view alike.

The metering point's own series goes before everything that VENs report (`vtn.services.precedence`); they stand behind
it, for intervals of which it says nothing. Of these, by meaning, unless the operator has chosen: real energy
(intervals, else a register) or power (means, else points in time) whose description says usage, read directly. Of
several, those that name the site's metering point; else those that name a meter; else the VEN's resources, added up,
none of them twice, and no device beside what is none: a sub-meter never adds to the main meter. What is exported of the
same is taken off: what a baseline sees is net. Where descriptions do not tell data points apart, nothing is settled
until the operator chooses.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby, permutations
from typing import Any, Final, Literal

from sqlalchemy import delete, exists, insert, select

from core.errors import InvalidError
from core.plausible import HOME_W
from core.points import Flow, Kind, Phase, Quantity
from openadr.model import assessment
from openadr.model.target import Grid, Target
from vtn.services.fleet import named
from vtn.services.flows import is_generation
from vtn.services.precedence import METER
from vtn.store.data_point import DIRECT_READ, USAGE
from vtn.store.database import Connection, Transaction
from vtn.store.readings import DESCRIBED, SeriesKey, in_order, key_of, numbered
from vtn.store.rows import in_parts
from vtn.store.tables import resource, series, settlement_choice, site, ven

BY_MEANING: Final = "meaning"
_RANKS: Final[Mapping[tuple[str, str], int]] = {
    (Quantity.ENERGY_REAL, Kind.SUM): 0,
    (Quantity.ENERGY_REAL, Kind.REGISTER): 1,
    (Quantity.POWER_REAL, Kind.MEAN): 2,
    (Quantity.POWER_REAL, Kind.INSTANT): 3,
}
_TYPES: Final = (USAGE, "reading")
"""Report types in order: RP-08 asks for the first; VENs that say the second of what they metered are common."""
_READ: Final = (DIRECT_READ, "Net", "Summed", "Mean")
"""Reading types that say how something was metered: by one meter or several, of a moment or an interval."""
_TAKEN_OFF: Final = "What is exported is taken off."
_OTHER_UNITS: Final = "Nothing that it reports is a real energy or power: see the units of its data points."
_EVERY: Final = series.alias()
_METERED: Final = series.c.quantity.in_((Quantity.ENERGY_REAL, Quantity.POWER_REAL))
_OF_VENS: Final = select(
    ven.c.id.label("owner"),
    site.c.metering_point,
    site.c.connection_w,
    settlement_choice.c.chosen_by,
    resource.c.device_class,
    exists().where(_EVERY.c.ven_id == ven.c.id).label("reports"),
    *DESCRIBED,
).select_from(
    ven.outerjoin(site, site.c.id == ven.c.site_id)
    .outerjoin(series, (series.c.ven_id == ven.c.id) & _METERED)
    .outerjoin(
        settlement_choice,
        (settlement_choice.c.ven_id == ven.c.id) & (settlement_choice.c.series_id == series.c.id),
    )
    .outerjoin(resource, (resource.c.ven_id == ven.c.id) & (resource.c.resource_id == series.c.resource_id))
)


@dataclass(frozen=True, slots=True)
class Part:
    """Series that say the same of one thing (history and telemetry, say), `numbers`; `key` stands for all of them.

    An export counts against consumption. `others` say the same in another way (mean power beside energies): they count
    where these have nothing.
    """

    key: SeriesKey
    numbers: tuple[int, ...]
    others: tuple["Part", ...] = ()

    @property
    def sign(self) -> int:
        """-1 for an export."""
        return -1 if self.key.point.flow is Flow.EXPORT else 1

    @property
    def is_power(self) -> bool:
        """Whether its values are powers."""
        return self.key.quantity == Quantity.POWER_REAL


@dataclass(frozen=True, slots=True)
class Basis:
    """What is settled of a VEN: the sum of `parts`, and where these say nothing the sum of those that stand `behind`.

    `connection_w` is what its connection can carry.
    """

    parts: tuple[Part, ...] = ()
    behind: tuple[Part, ...] = ()
    chosen_by: str = BY_MEANING
    notes: tuple[str, ...] = ()
    connection_w: float = HOME_W
    connection_is_known: bool = False

    @property
    def everything(self) -> tuple[Part, ...]:
        """All parts, and those that count where they have nothing."""
        parts = (*self.parts, *self.behind)
        return tuple(each for one in parts for each in (one, *one.others))

    @property
    def flow(self) -> Literal["gross", "net", "none"]:
        """Gross: consumption alone. Net: export is taken off."""
        if not self.parts:
            return "none"
        gross = all(one.key.point.flow is Flow.IMPORT for one in self.parts)
        return "gross" if gross else "net"


async def of(conn: Connection, ven_ids: Sequence[str]) -> dict[str, Basis]:
    """Return venID -> what is settled, for every VEN asked."""
    bases: dict[str, Basis] = {}
    for ids in in_parts(ven_ids):
        rows = (await conn.execute(_OF_VENS.where(ven.c.id.in_(ids)).order_by(ven.c.id))).all()
        bases |= await asyncio.to_thread(_bases, rows)  # a tenth of a second for a thousand
    return bases


def _bases(rows: Sequence[Any]) -> dict[str, Basis]:
    """Return venID -> what is settled, from rows in the order of the VENs."""
    return {ven_id: _basis(list(own_rows)) for ven_id, own_rows in groupby(rows, key=lambda row: row.owner)}


def _basis(rows: Sequence[Any]) -> Basis:
    """Return what is settled of a VEN, from a row for each of its metered series, or one without any."""
    own = in_order({row.id: key_of(row) for row in rows if row.id is not None})
    chosen = {row.id: row.chosen_by for row in rows if row.chosen_by is not None}
    devices = frozenset(row.resource_id for row in rows if row.device_class is not None)
    point = rows[0].metering_point
    basis = _chosen(own, chosen, point) if chosen else by_meaning(own, point, devices)
    if not own and rows[0].reports:
        basis = replace(basis, notes=(_OTHER_UNITS,))
    connection_w = rows[0].connection_w
    return basis if connection_w is None else replace(basis, connection_w=float(connection_w), connection_is_known=True)


async def choose(tx: Transaction, ven_id: str, numbers: Iterable[int], now: datetime, *, who: str) -> Basis:
    """Settle these series of a VEN from now on, for past times too; none at all: by meaning again.

    Raises NotFoundError for the VEN, InvalidError for series that are not its metered ones or count the same twice,
    be it as a part of what another one meters.
    """
    await named(tx.conn, [ven_id])
    wanted = sorted(set(numbers))
    own = await numbered(tx.conn, [ven_id], _METERED)
    if strangers := [number for number in wanted if number not in own or _rank(own[number]) is None]:
        raise InvalidError(f"Series {strangers[0]} is no metered real energy or power of this VEN.")
    parts = _chosen(own, dict.fromkeys(wanted, who), None).parts
    things = [_thing(one.key) for one in parts]
    if len(set(things)) < len(things):
        raise InvalidError("Two of these series measure the same thing: energy and power of it would count twice.")
    _check_apart([one.key for one in parts], await _devices(tx.conn, ven_id))
    old = (await of(tx.conn, [ven_id]))[ven_id]
    await tx.conn.execute(delete(settlement_choice).where(settlement_choice.c.ven_id == ven_id))
    if wanted:
        rows = [{"ven_id": ven_id, "series_id": number, "chosen_at": now, "chosen_by": who} for number in wanted]
        await tx.conn.execute(insert(settlement_choice), rows)
    made = (await of(tx.conn, [ven_id]))[ven_id]
    await tx.audit(who, "choose settlement series", ven_id, _audited(old), _audited(made), at=now)
    return made


async def _devices(conn: Connection, ven_id: str) -> frozenset[str]:
    query = select(resource.c.resource_id).where((resource.c.ven_id == ven_id) & resource.c.device_class.is_not(None))
    return frozenset((await conn.execute(query)).scalars())


def _check_apart(keys: Sequence[SeriesKey], devices: frozenset[str]) -> None:
    """Raise InvalidError where one of the series to add up is known to meter a part of what another does."""
    for one, other in permutations(keys, 2):
        if one.point.flow is Flow.EXPORT or other.point.flow is Flow.EXPORT or one.point.phase is not other.point.phase:
            continue
        inner, outer = set(_criteria(one.point.sources)), set(_criteria(other.point.sources))
        if (inner and not outer) or inner < outer or (_is_device(one, devices) and not _is_device(other, devices)):
            text = f"{one.resource_id} lies behind {other.resource_id}: a sub-meter does not add to the main meter."
            raise InvalidError(text)


def _is_device(key: SeriesKey, devices: frozenset[str]) -> bool:
    return bool(key.point.subject) or bool(devices & set(key.point.sources.resource_ids))


def _audited(basis: Basis) -> dict[str, object]:
    return {"chosen_by": basis.chosen_by, "series": [list(one.numbers) for one in basis.parts]}


def _chosen(own: Mapping[int, SeriesKey], numbers: Mapping[int, str], metering_point: str | None) -> Basis:
    """Return what the operator chose; a series of the same meaning that came since goes with it."""
    parts: dict[tuple[int, ...], Part] = {}
    for number in sorted(numbers):
        key = own[number]
        alike = tuple(
            other
            for other, one in sorted(own.items())
            if other == number or (not key.point.ambiguous and not one.point.ambiguous and _same(one) == _same(key))
        )
        parts[alike] = Part(key, alike)
    chosen = Basis(tuple(parts.values()), chosen_by=next(iter(numbers.values()), BY_MEANING))
    of_ven = any(part.key.source != METER for part in chosen.parts)
    return _metered(own, chosen, metering_point) if of_ven else chosen


def by_meaning(
    own: Mapping[int, SeriesKey], metering_point: str | None = None, devices: frozenset[str] = frozenset()
) -> Basis:
    """Choose by what the descriptions say; `devices`: the resources that are known to be devices (RP-09)."""
    of_ven = _of_ven({n: key for n, key in own.items() if key.source != METER}, metering_point, devices)
    return _metered(own, of_ven, metering_point)


def _metered(own: Mapping[int, SeriesKey], of_ven: Basis, metering_point: str | None) -> Basis:
    """Put the metering point's own series before what the VEN reports; where that is gross, without its export.

    Those of other points, which the site once had, are of another meter. A site without one has that of its only file.
    """
    gross = of_ven.flow == "gross"
    metered = {number: key for number, key in own.items() if key.source == METER and _rank(key) is not None}
    points = {key.resource_id for key in metered.values()}
    point = metering_point if metering_point is not None or len(points) != 1 else next(iter(points))
    parts = tuple(
        Part(key, (number,))
        for number, key in metered.items()
        if key.resource_id == point and (not gross or key.point.flow is Flow.IMPORT)
    )
    if not any(part.key.point.flow is Flow.IMPORT for part in parts):
        return of_ven
    behind = tuple(part for part in of_ven.parts if part.key.source != METER)
    notes = [f"The settlement meter of {parts[0].key.resource_id}.", *(of_ven.notes if behind else ())]
    if any(part.key.point.flow is Flow.EXPORT for part in parts) and _TAKEN_OFF not in notes:
        notes.append(_TAKEN_OFF)
    return replace(of_ven, parts=parts, behind=behind, notes=tuple(notes))


def _of_ven(own: Mapping[int, SeriesKey], metering_point: str | None, devices: frozenset[str]) -> Basis:
    read = {number: key for number, key in own.items() if _rank(key) is not None and key.point.reading_type in _READ}
    taken = {number: key for number, key in read.items() if key.point.flow is not Flow.EXPORT}
    usable = next((some for word in _TYPES if (some := _typed(taken, word))), {})
    if not usable:
        return Basis(notes=("No data point is a usage that was read directly.",) if own else ())
    exports = _by_source({n: key for n, key in read.items() if key.point.flow is Flow.EXPORT and _is_exported(key)})
    usable, is_at_point = _main_meters(usable, metering_point, devices)
    parts: list[Part] = []
    covered: set[str] = set()
    for sources, numbers in _by_sources(usable):
        if "" in covered or sources & covered:
            continue  # part of what is counted already
        best = _best({number: usable[number] for number in numbers})
        if best is None:
            name = usable[numbers[0]].resource_id
            return Basis(notes=(f"Several data points say the same of {name}: choose which of them counts.",))
        parts += best
        covered |= sources
        if sources in exports and not any(one.key.point.flow is Flow.NET for one in best):
            back = _best({number: read[number] for number in exports[sources]})
            if back is None:
                name = read[exports[sources][0]].resource_id
                return Basis(notes=(f"Several data points say the same of {name}'s export: choose which counts.",))
            parts += back
    if metering_point and not is_at_point and len({frozenset(_criteria(one.key.point.sources)) for one in parts}) > 1:
        text = f"Several meters, and none of them names the metering point {metering_point}: choose which counts."
        return Basis(notes=(text,))
    words = [f"The metering point {metering_point}."] if is_at_point else []
    return Basis(tuple(parts), notes=(*words, *_notes(parts)))


def _notes(parts: Sequence[Part]) -> list[str]:
    """Return what is to be said of series that are added up."""
    notes = []
    if len(resources := {one.key.resource_id for one in parts}) > 1:
        notes.append(f"The sum of {len(resources)} resources: choose, if one of them meters what others do, too.")
    if any(one.key.point.phase is not Phase.TOTAL for one in parts):
        notes.append("The sum of its phases.")
    if any(one.key.point.flow is Flow.EXPORT for one in parts):
        notes.append(_TAKEN_OFF)
    return notes


def _main_meters(
    keys: dict[int, SeriesKey], metering_point: str | None, devices: frozenset[str]
) -> tuple[dict[int, SeriesKey], bool]:
    """Return the series of main meters, and whether they name the metering point."""
    keys = _main(keys, lambda key: not key.point.subject)
    keys = _main(keys, lambda key: not _is_device(key, devices))
    at_point = {n: key for n, key in keys.items() if metering_point and metering_point in _names(key)}
    if at_point:
        return at_point, True
    return _main(keys, lambda key: any(kind is Grid.METER_ASSET for kind, _ in key.point.sources.other)), False


def _main(keys: dict[int, SeriesKey], is_main: Callable[[SeriesKey], bool]) -> dict[int, SeriesKey]:
    """Return the series of main meters, all where there is none among them: sub-meters lie behind a main meter."""
    return {number: key for number, key in keys.items() if is_main(key)} or keys


def _typed(keys: Mapping[int, SeriesKey], report_type: str) -> dict[int, SeriesKey]:
    return {number: key for number, key in keys.items() if key.point.report_type == report_type}


def _is_exported(key: SeriesKey) -> bool:
    """Tell whether an export is what leaves the site: not what is generated behind its meter, or planned."""
    point = key.point
    metered = point.report_type in _TYPES or point.report_type.startswith("x-")
    return metered and not point.subject and not is_generation(point.report_type, point.r_id)


def _by_source(keys: Mapping[int, SeriesKey]) -> dict[frozenset[str], list[int]]:
    """Return sources -> series; "" is everything behind the VEN (RP-10)."""
    found: dict[frozenset[str], list[int]] = {}
    for number, key in keys.items():
        found.setdefault(frozenset(_criteria(key.point.sources)) or frozenset({""}), []).append(number)
    return found


def _by_sources(keys: Mapping[int, SeriesKey]) -> list[tuple[frozenset[str], list[int]]]:
    """Return sources -> series, those that cover the most first."""
    return sorted(_by_source(keys).items(), key=lambda item: ("" not in item[0], -len(item[0]), sorted(item[0])))


def _best(keys: Mapping[int, SeriesKey]) -> list[Part] | None:
    """Return the best series of one thing, each phase for itself; None where they cannot be told apart."""

    def order(number: int) -> tuple[int, str, bool, bool]:
        key = keys[number]
        return _rank(key) or 0, key.source, key.point.flow is Flow.NET, key.point.reading_type != DIRECT_READ

    groups = [list(some) for _, some in groupby(sorted(keys, key=lambda number: (*order(number), number)), key=order)]
    first = groups[0]
    by_phase: dict[Phase, list[int]] = {}
    for number in first:
        by_phase.setdefault(keys[number].point.phase, []).append(number)
    if Phase.TOTAL in by_phase:
        by_phase = {Phase.TOTAL: by_phase[Phase.TOTAL]}
    if any(keys[number].point.ambiguous for numbers in by_phase.values() for number in numbers):
        return None
    others = _others(keys, keys[first[0]], groups[1:]) if Phase.TOTAL in by_phase else ()
    return [Part(keys[numbers[-1]], tuple(numbers), others) for _, numbers in sorted(by_phase.items())]


def _others(keys: Mapping[int, SeriesKey], first: SeriesKey, groups: Sequence[Sequence[int]]) -> tuple[Part, ...]:
    """Return what says the same as the first in another way: of the same flow, in total, and not ambiguous."""
    parts = []
    for group in groups:
        total = [number for number in group if keys[number].point.phase is Phase.TOTAL]
        flows = {keys[number].point.flow for number in total}
        if total and flows == {first.point.flow} and not any(keys[number].point.ambiguous for number in total):
            parts.append(Part(keys[total[-1]], tuple(total)))
    return tuple(parts)


def can_settle(key: SeriesKey) -> bool:
    """Tell whether a series may be chosen: metered real energy, or real power."""
    return _rank(key) is not None


def _rank(key: SeriesKey) -> int | None:
    if key.point.report_type in assessment.REPORT_TYPES:
        return None  # what a VEN thinks of an event is no meter
    return _RANKS.get((key.quantity, key.kind))


def _names(key: SeriesKey) -> set[str]:
    return {key.point.r_id, *_criteria(key.point.sources)}


def _criteria(target: Target) -> list[str]:
    named_ = (target.ven_ids, target.resource_ids, target.group_ids, target.group_names, target.party_ids)
    return [value for values in (*named_, target.device_classes) for value in values] + [
        text for _, text in target.other
    ]


def _thing(key: SeriesKey) -> tuple[object, ...]:
    point = key.point
    return (
        frozenset(_criteria(point.sources)),
        point.subject,
        point.flow,
        point.phase,
        point.r_id if point.ambiguous else "",
    )


def _same(key: SeriesKey) -> tuple[object, ...]:
    return *_thing(key), key.quantity, key.kind, key.source, key.point.report_type, key.point.reading_type
