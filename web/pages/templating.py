"""Jinja2 as the console uses it: everything is escaped, an unknown name is an error, and units are written one way."""

import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Final

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from core.spans import Duration, day_in_words

NBSP: Final = "\N{NO-BREAK SPACE}"
MINUS: Final = "\N{MINUS SIGN}"
DASH: Final = "\N{EN DASH}"
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86400


def make_environment(directories: Iterable[Path], names: Mapping[str, Any]) -> Environment:
    """Return the environment of all sections' templates; the first directory that has a name wins."""
    loader = ChoiceLoader([FileSystemLoader(path) for path in directories])
    env = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=200,
    )
    env.filters |= {
        "time": show_time,
        "clock": show_clock,
        "ago": show_ago,
        "day": show_day,
        "power": show_power,
        "energy": show_energy,
        "duration": show_duration,
        "percent": show_percent,
        "number": show_number,
        "vens": show_vens,
        "pretty": show_json,
    }
    env.globals |= names
    return env


def zone_name(zone: tzinfo, at: datetime) -> str:
    """Return how a zone is called on a page, such as `Europe/Berlin (CET)`."""
    key, short = getattr(zone, "key", None), at.astimezone(zone).tzname() or ""
    return f"{key} ({short})" if key and key != short else short


@pass_context
def show_time(context: Context, when: datetime | None, otherwise: str = DASH) -> Markup | str:
    """Return a time in the page's zone, with the UTC time for pointing at; seconds where they count."""
    if when is None:
        return otherwise
    local = when.astimezone(context["zone"])
    text = local.strftime("%Y-%m-%d %H:%M:%S" if local.second else "%Y-%m-%d %H:%M")
    return _time(when, text)


@pass_context
def show_clock(context: Context, when: datetime) -> Markup:
    """Return the time of day in the page's zone."""
    return _time(when, when.astimezone(context["zone"]).strftime("%H:%M:%S"))


def show_day(day: date | str) -> str:
    """Return a local date (or its ISO text) in words."""
    return day_in_words(date.fromisoformat(day) if isinstance(day, str) else day)


@pass_context
def show_ago(context: Context, when: datetime | None, otherwise: str = "never") -> Markup | str:
    """Return how long ago (or how far ahead) a time lies from the world's now."""
    if when is None:
        return otherwise
    seconds = (context["now"] - when).total_seconds()
    text = f"{_rough(seconds)} ago" if seconds >= 1 else f"in {_rough(-seconds)}" if seconds <= -1 else "now"
    return _time(when, text)


def _time(when: datetime, text: str) -> Markup:
    utc = when.astimezone(UTC)
    stamp = utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(stamp, utc.strftime("%Y-%m-%d %H:%M:%S"), text)


def _rough(seconds: float) -> str:
    for size, name in ((_DAY_S, "day"), (_HOUR_S, "hour"), (_MINUTE_S, "minute"), (1, "second")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'s' if count != 1 else ''}"
    return "less than a second"


def show_power(power_w: float | None, otherwise: str = DASH) -> str:
    """Return a power in W, kW or MW."""
    return _scaled(power_w, "W", otherwise)


def show_energy(energy_wh: float | None, otherwise: str = DASH) -> str:
    """Return an energy in Wh, kWh or MWh."""
    return _scaled(energy_wh, "Wh", otherwise)


def _scaled(value: float | None, unit: str, otherwise: str) -> str:
    if value is None or not math.isfinite(value):
        return otherwise
    for factor, prefix in ((1e6, "M"), (1e3, "k"), (1.0, "")):
        if abs(value) >= factor or factor == 1.0:
            return f"{show_number(value / factor, 0 if factor == 1.0 else 2)}{NBSP}{prefix}{unit}"
    raise AssertionError  # the last factor takes everything


def show_number(value: float | None, digits: int = 0, otherwise: str = DASH) -> str:
    """Return a number with thin groups of thousands, without trailing zeros, and with a real minus sign."""
    if value is None or not math.isfinite(value):
        return otherwise
    text = f"{value:,.{digits}f}"
    if digits:
        text = text.rstrip("0").rstrip(".")
    text = "0" if text == "-0" else text
    return text.replace("-", MINUS).replace(",", "\N{NARROW NO-BREAK SPACE}")


def show_vens(count: int) -> str:
    """Return so many VENs in words: `1 VEN`, `20 VENs`."""
    return f"{show_number(count)} VEN{'' if count == 1 else 's'}"


def show_json(value: object) -> str:
    """Return a JSON value with indents, for people."""
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True)


def show_percent(ratio: float | None, digits: int = 0, otherwise: str = DASH) -> str:
    """Return a ratio as per cent."""
    if ratio is None or not math.isfinite(ratio):
        return otherwise
    return f"{show_number(100 * ratio, digits)}{NBSP}%"


def show_duration(length: Duration | timedelta | float | None, otherwise: str = DASH) -> Markup | str:
    """Return a length of time in words, such as `1 h 30 min`."""
    if length is None:
        return otherwise
    if isinstance(length, Duration):
        if length.months:
            return str(length)
        seconds = float(length.seconds)
    else:
        seconds = length.total_seconds() if isinstance(length, timedelta) else float(length)
    sign, left = (MINUS if seconds < 0 else ""), abs(seconds)
    if left < _MINUTE_S:
        return escape(f"{sign}{show_number(left, 0 if left == int(left) else 1)}{NBSP}s")
    whole = round(left)
    parts = []
    for size, unit in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min"), (1, "s")):
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count}{NBSP}{unit}")
    return escape(sign + " ".join(parts))
