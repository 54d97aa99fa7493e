"""Jinja2 as the console uses it: everything is escaped, an unknown name is an error, and units are written one way."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Final

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from core.spans import Duration
from web.pages.translations import N_, ngettext, plural_translation, translation
from web.pages.translations import gettext as _

NBSP: Final = "\N{NO-BREAK SPACE}"
MINUS: Final = "\N{MINUS SIGN}"
DASH: Final = "\N{EN DASH}"
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86400
_WEEKDAYS: Final = (
    N_("Monday, %(date)s"),
    N_("Tuesday, %(date)s"),
    N_("Wednesday, %(date)s"),
    N_("Thursday, %(date)s"),
    N_("Friday, %(date)s"),
    N_("Saturday, %(date)s"),
    N_("Sunday, %(date)s"),
)
_MONTHS: Final = (
    N_("%(day)s January"),
    N_("%(day)s February"),
    N_("%(day)s March"),
    N_("%(day)s April"),
    N_("%(day)s May"),
    N_("%(day)s June"),
    N_("%(day)s July"),
    N_("%(day)s August"),
    N_("%(day)s September"),
    N_("%(day)s October"),
    N_("%(day)s November"),
    N_("%(day)s December"),
)


def make_environment(directories: Iterable[Path], names: Mapping[str, Any], words: Mapping[str, str]) -> Environment:
    """Return the environment of all sections' templates; the first directory that has a name wins.

    `words` are how values of data are said: filters `word` and `words`.
    """
    loader = ChoiceLoader([FileSystemLoader(path) for path in directories])
    env = Environment(
        loader=loader,
        extensions=["jinja2.ext.i18n"],
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=200,
    )
    env.install_gettext_callables(translation, plural_translation, newstyle=True)  # type: ignore[attr-defined]

    def word(value: object) -> str:
        text = words.get(str(value))
        return str(value) if text is None else _(text)

    env.filters |= {
        "word": word,
        "words": lambda values: [(value, word(value)) for value in values],
        "bdi": lambda text: Markup("<bdi>{}</bdi>").format(text),
        "code": lambda text: Markup("<code>{}</code>").format(text),
        "choices": choices,
        "counted": counted,
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


def choices(rows: Iterable[Any]) -> list[tuple[Any, Any]]:
    """Return (value, text) of things with an id and a name, of a mapping, or of texts that speak for themselves."""
    if isinstance(rows, Mapping):
        return list(rows.items())
    return [(row, row) if isinstance(row, str) else (row.id, row.name) for row in rows]


def counted(rows: Iterable[Any]) -> list[tuple[Any, str]]:
    """Return (value, text) of groups, or of a mapping name -> number, with how many belong to each: `North (12)`."""
    if isinstance(rows, Mapping):
        return [(name, f"{name} ({show_number(count)})") for name, count in rows.items()]
    return [(row.id, f"{row.name} ({show_number(row.members)})") for row in rows]


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
    """Return a local date (or its ISO text) in words, without its year."""
    local = date.fromisoformat(day) if isinstance(day, str) else day
    return _(_WEEKDAYS[local.weekday()], date=_(_MONTHS[local.month - 1], day=local.day))


@pass_context
def show_ago(context: Context, when: datetime | None, otherwise: str | None = None) -> Markup | str:
    """Return how long ago (or how far ahead) a time lies from the world's now."""
    if when is None:
        return _("never") if otherwise is None else otherwise
    return _time(when, _distance((context["now"] - when).total_seconds()))


def _time(when: datetime, text: str) -> Markup:
    utc = when.astimezone(UTC)
    stamp = utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(stamp, utc.strftime("%Y-%m-%d %H:%M:%S"), text)


_AGO: Final[Sequence[tuple[int, Callable[[int], str]]]] = (
    (_DAY_S, lambda n: ngettext("%(num)s day ago", "%(num)s days ago", n)),
    (_HOUR_S, lambda n: ngettext("%(num)s hour ago", "%(num)s hours ago", n)),
    (_MINUTE_S, lambda n: ngettext("%(num)s minute ago", "%(num)s minutes ago", n)),
    (1, lambda n: ngettext("%(num)s second ago", "%(num)s seconds ago", n)),
)
_AHEAD: Final[Sequence[tuple[int, Callable[[int], str]]]] = (
    (_DAY_S, lambda n: ngettext("in %(num)s day", "in %(num)s days", n)),
    (_HOUR_S, lambda n: ngettext("in %(num)s hour", "in %(num)s hours", n)),
    (_MINUTE_S, lambda n: ngettext("in %(num)s minute", "in %(num)s minutes", n)),
    (1, lambda n: ngettext("in %(num)s second", "in %(num)s seconds", n)),
)


def _distance(seconds: float) -> str:
    """Return how long ago a moment was, or how far ahead it is (below zero), roughly."""
    for size, text in _AGO if seconds > 0 else _AHEAD:
        if abs(seconds) >= size:
            return text(int(abs(seconds) // size))
    return _("now")


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
    return ngettext("%(count)s VEN", "%(count)s VENs", count, count=show_number(count))


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
