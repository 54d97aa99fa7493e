"""The parameters of a programme, as the operator API writes them."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field

from core.errors import InvalidError
from core.spans import Duration
from metrics.needs import Need
from metrics.presets import PRESETS
from openadr.model.event import ActivePeriod, ResponseRequired
from vtn.api.fields import Printable
from vtn.services import holidays
from vtn.services.programme import SETTLEMENT_INTERVALS, Limits, Parameters, Spread, Window
from vtn.services.programme import Reward as StoredReward
from web.model import IsoDuration, Model

_LONGEST_S = 31 * 86400


def _check_length(name: str, length: Duration | None, least: int) -> None:
    if length is not None and (length.months or not least <= length.seconds <= _LONGEST_S):
        raise InvalidError(f"{length} is not between {Duration(0, least)} and {Duration(0, _LONGEST_S)}.", field=name)


def _check_settlement(interval: Duration, zone: str) -> None:
    """Raise InvalidError for lengths that no market settles by, or that do not begin on the zone's full hour."""
    if interval not in SETTLEMENT_INTERVALS:
        text = ", ".join(map(str, SETTLEMENT_INTERVALS))
        raise InvalidError(f"{interval} is not one of {text}.", field="settlement_interval")
    offset = datetime.now(ZoneInfo(zone)).utcoffset() or timedelta()
    if offset % interval.timedelta():
        text = f"{zone}'s clock is not a multiple of {interval} from UTC; choose a shorter one."
        raise InvalidError(text, field="settlement_interval")


WallClock = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", examples=["17:00"])]
"""A time of day, HH:MM."""
_DAY = r"^(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$"
_MONEY = r"^[0-9]{1,9}(\.[0-9]{1,6})?$"
_Calls = Annotated[int, Field(ge=0, le=10_000)] | None


class CallWindow(Model):
    """When a programme may call, local time; an end at or before the start lies on the next day."""

    start: WallClock
    end: WallClock
    days: Annotated[list[Annotated[int, Field(ge=1, le=7)]], Field(max_length=7)] = Field(default_factory=list)
    """ISO weekdays, 1 = Monday; every day if empty."""


class CallLimits(Model):
    """How often and how long a household may be called; null: no limit."""

    per_day: _Calls = None
    per_week: _Calls = None
    per_season: _Calls = None
    rest: IsoDuration = Limits().rest
    """Between two calls."""
    shortest: IsoDuration | None = None
    longest: IsoDuration | None = None
    windows: Annotated[list[CallWindow], Field(max_length=50)] = Field(default_factory=list)
    """At any time if empty."""
    seasons: Annotated[list[Annotated[str, Field(pattern=_DAY)]], Field(min_length=1, max_length=12)] = Field(
        default_factory=lambda: list(Limits().seasons)
    )
    """The days (MM-DD) on which a season begins, by which `per_season` counts."""

    def value(self) -> Limits:
        """Return the limits. Raises InvalidError for lengths that no event can have."""
        for name in ("rest", "shortest", "longest"):
            _check_length(f"limits.{name}", getattr(self, name), 0)
        if self.shortest is not None and self.longest is not None and self.shortest.seconds > self.longest.seconds:
            raise InvalidError("The shortest call is longer than the longest.", field="limits")
        plain = {
            name: getattr(self, name) for name in ("per_day", "per_week", "per_season", "rest", "shortest", "longest")
        }
        windows = tuple(Window(one.start, one.end, tuple(sorted(set(one.days)))) for one in self.windows)
        return Limits(**plain, windows=windows, seasons=tuple(sorted(set(self.seasons))))


class Reward(Model):
    """What a household gets, as decimal strings."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "EUR"
    """ISO 4217."""
    per_kwh: Annotated[str, Field(pattern=_MONEY, examples=["0.25"])] = "0"
    per_call: Annotated[str, Field(pattern=_MONEY)] = "0"


class ProgrammeParameters(Model):
    """What a programme fixes for its events."""

    notification: IsoDuration = Parameters().notification
    """Notice before the start (x-eiNotification)."""
    start_after: IsoDuration | None = None
    """Width of the random start window."""
    ramp_up: IsoDuration | None = None
    recovery: IsoDuration | None = None
    response_required: ResponseRequired = ResponseRequired.ALWAYS
    priority: Annotated[int, Field(ge=0, le=1000)] | None = None
    baseline: str = Parameters().baseline
    """Preset by which delivery is computed."""
    settlement_interval: Annotated[
        IsoDuration, Field(json_schema_extra={"enum": [str(length) for length in SETTLEMENT_INTERVALS]})
    ] = Parameters().settlement_interval
    """Length of the intervals in which delivery is computed and settled."""
    spread: Spread = Spread.EVENLY
    """Whether what was delivered in a reading longer than that is spread evenly, or by what was ordered in it."""
    time_zone: str = "UTC"
    """IANA time zone that decides which days are alike, and in which the limits are meant."""
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$", examples=["DE"])] | None = None
    """Country (ISO 3166-1) whose public holidays are no weekdays; null: none is known."""
    subdivision: Annotated[Printable, Field(min_length=1, max_length=40, examples=["BY"])] | None = None
    """Its subdivision (ISO 3166-2 without the country) with holidays of its own."""
    control_group: Annotated[Printable, Field(min_length=1, max_length=80)] | None = None
    """Id or name of a group of VENs that are never called, so that others can be held against them; null: none."""
    product: Annotated[Printable, Field(min_length=1, max_length=80)] = Parameters().product
    """The name under which BRPs buy it."""
    limits: CallLimits = CallLimits()
    reward: Reward = Reward()

    def value(self) -> Parameters:
        """Return the parameters. Raises InvalidError for what no event can keep, or nobody can compute."""
        for name, least in (
            ("notification", 0),
            ("start_after", 0),
            ("ramp_up", -_LONGEST_S),
            ("recovery", -_LONGEST_S),
        ):
            _check_length(name, getattr(self, name), least)
        if self.baseline not in PRESETS:
            raise InvalidError(f"There is no preset '{self.baseline}'; use {' or '.join(PRESETS)}.", field="baseline")
        if Need.CONTROL in PRESETS[self.baseline].needs and self.control_group is None:
            raise InvalidError(
                f"'{self.baseline}' holds homes against a control group; name a group.", field="control_group"
            )
        if self.time_zone not in available_timezones():
            raise InvalidError(f"'{self.time_zone}' is not an IANA time zone such as Europe/London.", field="time_zone")
        _check_settlement(self.settlement_interval, self.time_zone)
        holidays.check(self.country, self.subdivision)
        plain = {name: getattr(self, name) for name in type(self).model_fields if name not in ("limits", "reward")}
        return Parameters(**plain, limits=self.limits.value(), reward=StoredReward(**self.reward.model_dump()))


def period_of(parameters: Parameters) -> ActivePeriod:
    """Return an hour under these parameters."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rules = (parameters.notification, parameters.start_after, parameters.ramp_up, parameters.recovery)
    return ActivePeriod(start, Duration.of(hours=1), *rules)
