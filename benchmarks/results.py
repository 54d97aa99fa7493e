"""From the figures of all rounds to a table: medians, with the smallest and the largest."""

import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.cases import Case, Figure

PEER = "openleadr"
_BEGIN, _END = "<!-- measured: begin -->", "<!-- measured: end -->"
_LIBRARIES = ("openleadr", "aiohttp", "uvloop", "lxml", "SQLAlchemy", "aiosqlite")


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds, with the smallest and the largest."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarise the rounds."""
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Row:
    """One case. `ratio` is how many times better ours is: of each round's pair, then the median."""

    case: str
    what: str
    unit: str
    ours: Spread
    peer: Spread
    ratio: Spread
    cpu_us_ours: float
    cpu_us_peer: float
    driver_cpu: float
    """The driver's largest share of a core: near 1 it would be the limit."""


def compare(case: Case, ours: Sequence[Figure], peer: Sequence[Figure]) -> Row:
    """Compare the rounds of a case, pair by pair."""
    ratios = [
        mine.value / theirs.value if case.more_is_better else theirs.value / mine.value
        for mine, theirs in zip(ours, peer, strict=True)
    ]
    return Row(
        case.name,
        case.what,
        case.unit,
        Spread.of([one.value for one in ours]),
        Spread.of([one.value for one in peer]),
        Spread.of(ratios),
        median(one.cpu_us for one in ours),
        median(one.cpu_us for one in peer),
        max(one.driver_cpu for one in (*ours, *peer)),
    )


def machine() -> dict[str, str]:
    """Say what this was measured on."""
    about = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    model = re.search(r"model name\s*:\s*(.+)", about)
    return {
        "processor": model[1].strip() if model else platform.machine(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    } | {name: version(name) for name in _LIBRARIES}


def as_json(rows: Sequence[Row], plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything for scripts."""
    return {"machine": machine(), "plan": dict(plan), "rows": [asdict(row) for row in rows]}


def table(rows: Sequence[Row], peer: str = PEER) -> str:
    """Return the table in Markdown."""
    lines = [
        f"| case | evenload | {peer} | times better | server CPU a message: evenload / {peer} | driver CPU |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        ours, theirs = _shown(row.ours, row.unit), _shown(row.peer, row.unit)
        digits = 1 if peer == PEER else 2  # a change shows in hundredths
        times = f"**{row.ratio.median:.{digits}f}** ({row.ratio.least:.{digits}f} to {row.ratio.most:.{digits}f})"
        cpu = f"{row.cpu_us_ours:,.0f} / {row.cpu_us_peer:,.0f} µs"
        lines.append(f"| {row.case} | {ours} | {theirs} | {times} | {cpu} | {row.driver_cpu:.2f} |")
    return "\n".join(lines)


def _shown(spread: Spread, unit: str) -> str:
    digits = 0 if spread.median >= 100 else 2 if unit == "s" else 1  # noqa: PLR2004  three digits say enough
    middle, least, most = (f"{one:,.{digits}f}" for one in (spread.median, spread.least, spread.most))
    return f"{middle} {unit} ({least} to {most})"


def write_page(page: Path, rows: Sequence[Row], plan: Mapping[str, Any]) -> None:
    """Put the table into a page, between its marks."""
    before, rest = page.read_text(encoding="utf-8").split(_BEGIN)
    after = rest.split(_END)[1]
    about = machine()
    libraries = ", ".join(f"{name} {about[name]}" for name in _LIBRARIES)
    measured = (
        f"{about['processor']}, {about['cores']} cores, {about['system']}, Python {about['python']}; {libraries}. "
        f"Medians of {plan['rounds']} rounds, with the smallest and the largest.\n\n{table(rows)}\n\n"
        + "\n".join(f"- *{row.case}*: {row.what}." for row in rows)
    )
    page.write_text(f"{before}{_BEGIN}\n{measured}\n{_END}{after}", encoding="utf-8")
