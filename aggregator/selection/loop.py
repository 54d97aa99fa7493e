"""Each world minute of an event: does the pool deliver what is wanted, and who is called or released if not.

A pure function of what is known now; what was decided before shows in the members. It neither flaps nor repeats itself:

- It acts only outside a band (as wide as the tolerance). It calls up to the middle of the band, and releases no further
  than half way down to it: who is released is lost for this event, and opt-outs will take more.
- A home that was called and is not measured yet counts with what is expected of it, so it is not called for twice.
- Who was called once, is never called again; who was released, stays released.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
import numpy.typing as npt

from aggregator.flexibility.fleet import Fleet, Floats, Whole
from aggregator.flexibility.response import known, mean_w, probability
from aggregator.selection.partial import stepped
from aggregator.selection.rotation import ranks
from aggregator.selection.target import Ask, check
from core.errors import InvalidError

Flags = npt.NDArray[np.bool_]

# What is known of an event's common factor before it begins weighs as much as this many homes' answers.
_PRIOR = 30.0
_NARROWEST = 0.02
_CATCH_UP = 2.0
_TRUST = 0.5
# Of the homes that fail, so many show it: they opt out or never answer. The others agree and then do not deliver.
_SHOWN = 2 / 3


class Why(StrEnum):
    """Why the loop called or released a home."""

    OPT_OUT = "replaces opt-out"
    SILENT = "replaces silent"
    UNDER = "under target"
    OVER = "over target"


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A home that was called for the event, at any time, and what is known of it now.

    - `index` in the fleet; `ordered_w` (T), W.
    - `opt`: its answer; `silent`: it has not answered within the time it has.
    - `delivered_w`: what it delivers now, W, as measured (a mean over some minutes is better than one); nan: not known,
      or not meaningful yet, because it was called only a few minutes ago and may still be starting.
    - `released`: it was called off.
    """

    index: int
    ordered_w: Floats
    opt: Literal["in", "out"] | None = None
    silent: bool = False
    delivered_w: float = float("nan")
    released: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """Members as columns (M), quicker for many: `ordered_w` is (M, T); `out` and `agreed`: opted out, opted in."""

    index: Whole
    ordered_w: Floats
    out: Flags
    agreed: Flags
    silent: Flags
    delivered_w: Floats
    released: Flags

    @classmethod
    def of(cls, rows: Sequence[Member], intervals: int) -> "Members":
        """Return the columns of some members."""
        return cls(
            index=np.array([m.index for m in rows], dtype=np.int64),
            ordered_w=np.array([m.ordered_w for m in rows], dtype=np.float64).reshape(len(rows), intervals),
            out=np.array([m.opt == "out" for m in rows], dtype=bool),
            agreed=np.array([m.opt == "in" for m in rows], dtype=bool),
            silent=np.array([m.silent for m in rows], dtype=bool),
            delivered_w=np.array([m.delivered_w for m in rows], dtype=np.float64),
            released=np.array([m.released for m in rows], dtype=bool),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """Call this home now, at `power_w` (T), W: its p50 or a level of its set-point, 0 in intervals that are over."""

    index: int
    power_w: Floats
    reason: Why


@dataclass(frozen=True, slots=True)
class Release:
    """Call this home off."""

    index: int
    reason: Why


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """What to do now. `estimate_w`: what the members deliver when it takes effect; `aim_w`: what they should."""

    call: tuple[Call, ...] = ()
    release: tuple[Release, ...] = ()
    estimate_w: float = 0.0
    aim_w: float = 0.0


def correct(
    fleet: Fleet,
    ask: Ask,
    members: Members | Sequence[Member],
    reserve: Sequence[int],
    t: int,
    delivered_w: float = float("nan"),
    *,
    into_s: float = 0.0,
    ahead_wh: float | None = None,
    age_s: float = 0.0,
    lead_s: float = 180.0,
    seed: int = 0,
) -> Moves:
    """Return the moves at `into_s` seconds into interval `t` of the event that `members` were called for.

    `fleet`: as it is now (what is barred now is not called), with the intervals of the ask. `members`: everyone who was
    ever called for it. `reserve`: indices in rotation order, as selection gave them; members in it are passed over.
    `delivered_w`: what the members with a measurement deliver together, if something better than the sum of theirs is
    known. `ahead_wh`: delivered minus target so far, so that the energy of the whole event comes out right; homes that
    did not report a minute count there as the others do; None: not known. `age_s`: how old the measurements are in
    the middle. `lead_s`: time until a move takes effect.

    Nobody is called who is barred, has no calls left or would exceed a cap; there are never more calls than the ask
    allows. Raises InvalidError for a `t` outside the event or an index outside the fleet.
    """
    check(fleet, ask)
    homes, intervals = fleet.size
    if not 0 <= t < intervals:
        raise InvalidError(f"Interval {t} is not one of the event's {intervals}.")
    effect = int((t * fleet.step_s + into_s + lead_s) // fleet.step_s)
    if effect >= intervals or ask.target_w[effect] <= 0:
        return Moves()
    columns = members if isinstance(members, Members) else Members.of(members, intervals)
    for index in (columns.index, np.array(reserve, dtype=np.int64)):
        if index.size and not 0 <= index.min() <= index.max() < homes:
            raise InvalidError("A member or a reserve is not in the fleet.")
    measured_in = max(int((t * fleet.step_s + into_s - age_s) // fleet.step_s), 0)
    state = _State(fleet, columns, measured_in, effect)
    estimate = state.estimate(delivered_w)
    half, aim = _aim(ask, fleet.step_s, t, effect, into_s, ahead_wh, lead_s, estimate)
    if estimate < aim - half:
        calls = _calls(fleet, ask, state, reserve, effect, aim - estimate, aim)
        return Moves(call=calls, estimate_w=estimate, aim_w=aim)
    if estimate > aim + half and state.trusted:
        return Moves(release=_releases(fleet, state, estimate - aim - half / 2, seed), estimate_w=estimate, aim_w=aim)
    return Moves(estimate_w=estimate, aim_w=aim)


def _aim(
    ask: Ask, step_s: int, t: int, effect: int, into_s: float, ahead_wh: float | None, lead_s: float, estimate_w: float
) -> tuple[float, float]:
    """Return half the width of the band and its middle, W, in the interval of effect.

    The middle is where the rest of the event has to be for its whole energy to end in the middle of the tolerance,
    within limits: never below the target, for each interval is settled by itself, and not far above, to make up.
    """
    half = max(ask.tolerance, _NARROWEST) / 2
    target = ask.target_w
    if ahead_wh is None:
        return half * float(target[effect]), (1 + half) * float(target[effect])
    over = float(target[:t].sum()) * step_s + float(target[t]) * min(into_s + lead_s, step_s)
    rest = max(float(target.sum()) * step_s - over, float(target[effect]) * step_s / 10)
    ahead = ahead_wh * 3600 + (estimate_w - float(target[t])) * lead_s
    share = 1 + half + (half * over - ahead) / rest
    share = min(max(share, 1 + half / 2), 1 + 2 * half * _CATCH_UP)
    return half * float(target[effect]), share * float(target[effect])


class _State:
    """The members as columns, and what they deliver at the moment of effect."""

    def __init__(self, fleet: Fleet, members: Members, measured_in: int, effect: int) -> None:
        self.members = members
        self.index = members.index
        self.now, self.then = members.ordered_w[:, measured_in], members.ordered_w[:, effect]
        self.active = ~(members.out | members.released)
        self.measured = self.active & np.isfinite(members.delivered_w) & (self.now > 0)
        self.delivered = np.where(self.measured, members.delivered_w, 0.0)
        self.out, self.quiet = members.out & ~members.released, members.silent & self.active & ~self.measured
        self.chance = probability(fleet.reliability[self.index])
        self.kept = 1 - (1 - self.chance) * (1 - _SHOWN)
        self.likely = np.where(members.agreed, self.kept, self.chance) * ~self.quiet

    @property
    def trusted(self) -> bool:
        """Whether enough is measured to call anybody off."""
        whole = float(self.now[self.active].sum())
        return whole > 0 and float(self.now[self.measured].sum()) >= _TRUST * whole

    def estimate(self, delivered_w: float) -> float:
        """Return what the members deliver at the moment of effect, W."""
        known = self.measured
        total = float(delivered_w) if np.isfinite(delivered_w) else float(self.delivered[known].sum())
        self.today = self._today(total)
        ordered = float(self.now[known].sum())
        share = total / ordered if ordered else 0.0
        waiting = self.active & ~known
        return float(
            total
            + share * (self.then[known] - self.now[known]).sum()
            + self.today * (self.likely[waiting] * self.then[waiting]).sum()
        )

    def _today(self, total_w: float) -> float:
        """Return how today's measured homes do against what agreed homes usually do, drawn towards 1."""
        expected = float((self.kept * self.now)[self.measured].sum())
        usual = _PRIOR * float(self.now[self.measured].mean()) if self.measured.any() else 1.0
        return min(max((usual + total_w) / (usual + expected), 0.5), 1.15)

    def fresh(self) -> float:
        """Return how homes called now are likely to do against their reliability: opt-outs so far count, too."""
        engaged = self.out | self.active
        if not engaged.any():
            return 1.0
        lost, whole = float((self.out | self.quiet).sum()), float(engaged.sum())
        usual = float((1 - self.chance / self.kept)[engaged].mean())
        stay = 1 - (lost + _PRIOR * usual) / (whole + _PRIOR)
        return min(max(self.today * stay / max(1 - usual, 0.05), 0.5), 1.25)


def _calls(
    fleet: Fleet, ask: Ask, state: _State, reserve: Sequence[int], effect: int, lack_w: float, aim_w: float
) -> tuple[Call, ...]:
    """Return calls from the reserve, in its order, that make up for what lacks."""
    waiting = np.array(list(dict.fromkeys(reserve)), dtype=np.int64)
    free = np.array([fleet.barred[i] is None for i in waiting.tolist()], dtype=bool) & (fleet.calls_left[waiting] > 0)
    waiting = waiting[free & ~np.isin(waiting, state.index) & (fleet.p50_w[waiting, effect] > 0)]
    if ask.most_calls is not None:
        waiting = waiting[: max(ask.most_calls - state.index.size, 0)]
    power = mean_w(fleet.p10_w[waiting, effect], fleet.p50_w[waiting, effect], fleet.p90_w[waiting, effect])
    gains = power * probability(fleet.reliability[waiting]) * state.fresh()
    room = _Room(fleet, ask, state, effect)
    causes = _causes(state, lack_w, aim_w)
    minimum_w, step_w = fleet.set_points
    calls: list[Call] = []
    gained = 0.0
    for index, gain in zip(waiting.tolist(), gains.tolist(), strict=True):
        if gained >= lack_w:
            break
        whole = np.where(ask.target_w > 0, np.maximum(known(fleet.p50_w[index]), 0.0), 0.0)
        whole[:effect] = 0.0
        # Who has a set-point gives what is still missing, and as much more as the target is higher later.
        wanted = ask.target_w * (whole[effect] / ask.target_w[effect]) * ((lack_w - gained) / gain if gain > 0 else 1.0)
        lower, order = stepped(wanted, whole, minimum_w[index], step_w[index])
        enough = gained + gain * lower[effect] / whole[effect] >= lack_w - (aim_w - ask.target_w[effect])
        is_last = enough and bool(lower[effect] < order[effect])
        if is_last:
            order = lower
        if gain > 0 and room.take(int(fleet.area[index]), order):
            calls.append(Call(index, order, next(why for limit, why in causes if gained < limit)))
            gained += gain * order[effect] / whole[effect]
            if is_last:
                break
    return tuple(calls)


def _causes(state: _State, lack_w: float, aim_w: float) -> tuple[tuple[float, Why], ...]:
    """Return up to how much of the lack each cause explains: opt-outs not made up for yet, silence, the rest."""
    engaged = state.active | state.out
    plan = float((state.chance * state.then)[engaged].sum())
    without = plan - float((state.chance * state.then)[state.out].sum())
    opted = min(max(aim_w - without, 0.0), lack_w) if state.out.any() else 0.0
    heard = without - float((state.chance * state.then)[state.quiet].sum())
    silent = min(max(aim_w - heard, opted), lack_w) if state.quiet.any() else opted
    return ((opted, Why.OPT_OUT), (silent, Why.SILENT), (float("inf"), Why.UNDER))


class _Room:
    """What may still be ordered under each cap, from the moment of effect on."""

    def __init__(self, fleet: Fleet, ask: Ask, state: _State, effect: int) -> None:
        self.effect = effect
        area = fleet.area[state.index]
        self.left = {
            cap: limit - state.members.ordered_w[state.active & (area == cap)].sum(axis=0)
            for cap, limit in ask.caps.items()
        }

    def take(self, area: int, order_w: Floats) -> bool:
        """Use room for an order; return False, and use none, where there is not enough."""
        left = self.left.get(area)
        if left is None:
            return True
        if (order_w > left + 1e-9)[self.effect :].any():
            return False
        left -= order_w
        return True


def _releases(fleet: Fleet, state: _State, surplus_w: float, seed: int) -> tuple[Release, ...]:
    """Return releases, last in the rotation first, that take away the surplus and no more."""
    delivering = state.active & (state.then > 0) & state.measured & (state.delivered >= state.now / 2)
    places: Whole = np.flatnonzero(delivering)
    index = state.index[places]
    ids = [fleet.ven_ids[i] for i in index.tolist()]
    order = np.argsort(-ranks(ids, fleet.last_call_s[index], fleet.calls[index], seed), kind="stable")
    share = state.delivered[places].sum() / max(float(state.now[places].sum()), 1e-9)
    releases: list[Release] = []
    for place in places[order].tolist():
        part = share * float(state.then[place])
        if part <= surplus_w:
            releases.append(Release(int(state.index[place]), Why.OVER))
            surplus_w -= part
    return tuple(releases)
