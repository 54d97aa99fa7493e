"""`make bench-bridges`: what of the meters' messages the gateway stores, how soon, and how many in a second.

    python -m benchmarks.bridges [--quick] [--rounds 5] [--against DIR] [--json FILE]

Load sessions and bursts are those of FLEXMETER's deliverable D2.2, 5.2 and 5.3, with QoS 0 and 1. A message counts once
its value stands in the gateway's own store with its own time: after a real Mosquitto, the connection, a device template
and the recorder. The sessions' waits are cut short; the times of their values are those of the long ones.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Final

from benchmarks.bridge_home import PATH, Home, Reading, Watch, cpu_s, microseconds, mosquitto, resident_mb
from benchmarks.load import DriveError
from benchmarks.mqtt_load import Publication, Publisher
from benchmarks.results import Spread, machine
from benchmarks.servers import ROOT, of_checkout

BEFORE: Final = "9897552"
NO_BOUND: Final = "max_queued_messages 0"
"""A setting of Mosquitto's: by default it drops what more than a thousand messages a client has not taken."""
SUSTAINED: Final = 10_000
METERS: Final = 10
QUICK: Final = 0.02
SERVERS_LIBRARIES: Final = ("openleadr", "aiohttp", "uvloop", "lxml", "SQLAlchemy", "aiosqlite")
_BATCH: Final = 30


@dataclass(frozen=True, slots=True)
class Session:
    """A load session or burst: `count` messages, in all or each of `values`; `every` is what the document says.

    `rate_hz` is how many are really sent in a second; None: all at once.
    """

    name: str
    count: int
    values: int
    every: timedelta
    rate_hz: float | None
    meters: int = 1


SESSIONS: Final = (
    Session("single-5s", 1000, 1, timedelta(seconds=5), 200),
    Session("single-1s", 1000, 1, timedelta(seconds=1), 200),
    Session("batch-5min", 1000, _BATCH, timedelta(minutes=5), 200),
    Session("batch-5s", 1000, _BATCH, timedelta(seconds=5), 200),
    Session("batch-12h", 1000, _BATCH, timedelta(minutes=5), 200, meters=7),
    Session("burst-10", 10, 1, timedelta(milliseconds=1), None, meters=10),
    Session("burst-100", 100, 1, timedelta(milliseconds=1), None, meters=50),
    Session("burst-1000", 1000, 1, timedelta(milliseconds=1), None, meters=50),
    Session("burst-5000", 5000, 1, timedelta(milliseconds=1), None, meters=50),
    Session("burst-5000-spread", 5000, 1, timedelta(milliseconds=1), 5000, meters=50),
)


@dataclass(frozen=True, slots=True)
class Once:
    """One round of a session."""

    lost: int
    p99_s: float
    sending_s: float
    dropped_by_broker: bool


@dataclass(frozen=True, slots=True)
class Flow:
    """How many messages came through, and how many in a second."""

    stored: int
    rate: float
    cpu_us: float
    """CPU time that the process took for one of them."""


@dataclass(frozen=True, slots=True)
class Row:
    """One case, all its rounds. `lost`: messages of which a value is missing or wrong. `ratio`: to the yardstick.

    `p99_s`: of the seconds from the sending of a message until all its values are stored, to a hundredth.
    """

    case: str
    qos: int | None = None
    sent: int | None = None
    stored: int | None = None
    lost: int | None = None
    p99_s: Spread | None = None
    sending_s: Spread | None = None
    value: Spread | None = None
    unit: str = ""
    cpu_us: Spread | None = None
    ratio: Spread | None = None
    yardstick: str = ""
    dropped_by_broker: bool = False


# -- what is sent


def written(session: Session, newest: datetime) -> tuple[list[Publication], list[set[Reading]]]:
    """Return the messages of a session, and what each must leave in the store. The last value is as old as `newest`."""
    messages, expected = [], []
    for number in range(session.count):
        meter, turn = number % session.meters, number // session.meters
        last = (session.count - 1) // session.meters
        at = newest - (last - turn) * session.every
        step = session.every / session.values
        values = [(at - back * step, float(number * session.values + back)) for back in range(session.values)]
        point = f"meter-{meter}.{'power' if session.values == 1 else 'batched_power'}"
        expected.append({(point, microseconds(_millis(when)), value) for when, value in values})
        at_s = 0.0 if session.rate_hz is None else number / session.rate_hz
        messages.append(_message(f"meter-{meter}", values, at_s))
    return messages, expected


def _millis(when: datetime) -> datetime:
    return when.replace(microsecond=when.microsecond // 1000 * 1000)


def _message(meter: str, values: Sequence[tuple[datetime, float]], at_s: float) -> Publication:
    requests = [{"measurements": {PATH: value}, "updateState": True, "eventDate": _iso(when)} for when, value in values]
    if len(requests) == 1:
        single = {"hardwareId": meter, "type": "DeviceMeasurements", "request": requests[0]}
        return Publication(at_s, f"bench/{meter}/json", json.dumps(single).encode())
    batch = {"hardwareId": meter, "measurements": requests, "locations": [], "alerts": []}
    return Publication(at_s, f"bench/{meter}/jsonbatch", json.dumps(batch).encode())


def _iso(when: datetime) -> str:
    return _millis(when).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def packs(count: int, newest: datetime) -> list[Publication]:
    """Return SenML packs of one value each, as a `senml_meter` sends them: older gateways know these, too."""
    first_s = newest.timestamp() - count * 0.01
    return [
        Publication(0.0, f"meter/meter-{number % METERS}/measurement", json.dumps([record]).encode())
        for number in range(count)
        for record in [
            {
                "bn": f"urn:dev:meter:meter-{number % METERS}:",
                "n": "energy",
                "t": round(first_s + number * 0.01, 3),
                "u": "Wh",
                "v": number,
            }
        ]
    ]


# -- what is measured


@dataclass(frozen=True, slots=True)
class Bench:
    """One call of the benchmark. `before`: an older checkout to be measured beside, if any."""

    folder: Path
    rounds: int
    before: Path | None
    scale: float = 1.0
    """Share of the messages that are sent; less than 1 only shows that all works."""

    def place(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder))


def run_session(bench: Bench, session: Session, qos: int, *, bounded: bool = False) -> Iterator[Row]:
    """Run a session so many rounds; `bounded`: with Mosquitto's own limit of what it keeps for a client."""
    rounds = [_session_once(bench.place(), session, qos, bounded=bounded) for _ in range(bench.rounds)]
    sent, lost = session.count * len(rounds), sum(each.lost for each in rounds)
    yield Row(
        f"{session.name}-qos{qos}" + ("-bounded" if bounded else ""),
        qos,
        sent,
        sent - lost,
        lost,
        p99_s=Spread.of([each.p99_s for each in rounds]),
        sending_s=Spread.of([each.sending_s for each in rounds]),
        dropped_by_broker=any(each.dropped_by_broker for each in rounds),
    )


def _session_once(folder: Path, session: Session, qos: int, *, bounded: bool) -> Once:
    messages, expected = written(session, datetime.now(UTC) - timedelta(seconds=2))
    with mosquitto(folder / "broker", *([] if bounded else [NO_BOUND])) as port:
        home = Home.make(folder / "home", port, session.meters, qos=qos)
        watch = Watch(home, session.count * session.values)
        with home.gateway(), closing(Publisher(port)) as publisher, watch:
            sent = publisher.publish(messages, qos)
        readings = Counter(home.stored())
    if surplus := set(readings) - set[Reading]().union(*expected):
        raise DriveError(f"{session.name}: {len(surplus)} stored readings that nobody sent, such as {surplus.pop()}.")
    lost = sum(any(readings[reading] != 1 for reading in each) for each in expected)
    latencies = sorted(watch.latencies(sent, session.values)) or [math.nan]
    p99_s = latencies[math.ceil(0.99 * len(latencies)) - 1]
    log = (folder / "broker" / "mosquitto.log").read_bytes()
    return Once(lost, p99_s, sent[-1] - sent[0], b"messages are being dropped" in log)


def sustained(bench: Bench, qos: int, driver: str) -> Iterator[Row]:
    """Yield how many messages a second come through when they never pause: a bare subscriber, we, and an older build.

    All three get the same messages of one value each. The bare one is aiomqtt, which takes them and forgets them.
    """
    count = max(200, int(SUSTAINED * bench.scale))
    others: dict[str, Path | None] = {"bare": None, "ours": ROOT}
    if driver == "senml_meter" and bench.before is not None:
        others[BEFORE] = bench.before
    flows: dict[str, list[Flow]] = {name: [] for name in others}
    for number in range(bench.rounds):
        for name, root in list(others.items())[:: 1 if number % 2 else -1]:
            folder = bench.place()
            newest = datetime.now(UTC) - timedelta(seconds=2)
            messages = packs(count, newest) if driver == "senml_meter" else written(_flood(count), newest)[0]
            with mosquitto(folder / "broker", NO_BOUND) as port:
                if root is None:
                    flows[name].append(_bare(port, messages, qos))
                else:
                    flows[name].append(_storing(root, folder / "home", port, driver, messages, qos))
    case, bare = f"sustained-{driver}-qos{qos}", [flow.rate for flow in flows["bare"]]
    for name in others:
        stored = sum(flow.stored for flow in flows[name])
        yield Row(
            f"{case}-{name}",
            qos,
            count * bench.rounds,
            stored,
            count * bench.rounds - stored,
            value=Spread.of([flow.rate for flow in flows[name]]),
            unit="messages/s",
            cpu_us=Spread.of([flow.cpu_us for flow in flows[name]]),
            ratio=Spread.of([flow.rate / base for flow, base in zip(flows[name], bare, strict=True)]),
            yardstick="bare",
        )
    if BEFORE in flows:
        pairs = zip(flows["ours"], flows[BEFORE], strict=True)
        ratio = Spread.of([mine.rate / old.rate for mine, old in pairs])
        yield Row(f"{case}-ours-against-{BEFORE}", qos, ratio=ratio, yardstick=BEFORE)


def _flood(count: int) -> Session:
    return Session("sustained", count, 1, timedelta(milliseconds=10), None, meters=METERS)


def _bare(port: int, messages: Sequence[Publication], qos: int) -> Flow:
    command = [sys.executable, "-m", "benchmarks.mqtt_load", str(port), "#", str(qos), str(len(messages))]
    with subprocess.Popen(command, cwd=ROOT, env=of_checkout(ROOT), stdout=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdout is not None  # noqa: S101  it is a pipe
        process.stdout.readline()
        with closing(Publisher(port)) as publisher:
            sent = publisher.publish(messages, qos)
        answer = json.loads(process.stdout.readline())
    count = answer["count"]
    return Flow(count, count / (answer["last"] - sent[0]), 1e6 * answer["cpu_s"] / count)


def _storing(root: Path, folder: Path, port: int, driver: str, messages: Sequence[Publication], qos: int) -> Flow:
    home = Home.make(folder, port, METERS, qos=qos, driver=driver)
    watch = Watch(home, len(messages))
    with home.gateway(root) as pid, closing(Publisher(port)) as publisher:
        before_s = cpu_s(pid)
        with watch:
            sent = publisher.publish(messages, qos)
        spent_s = cpu_s(pid) - before_s
    last_s, count = watch.counts[-1]
    return Flow(count, count / (last_s - sent[0]), 1e6 * spent_s / count)


def memory(bench: Bench) -> Iterator[Row]:
    """Yield the resident memory of a gateway with fifty templated devices, after each has spoken."""
    session = Session("memory", 1000, 1, timedelta(seconds=1), 500, meters=50)
    sizes = []
    for _ in range(bench.rounds):
        folder = bench.place()
        messages, _ = written(session, datetime.now(UTC) - timedelta(seconds=2))
        with mosquitto(folder / "broker", NO_BOUND) as port:
            home = Home.make(folder / "home", port, session.meters)
            with home.gateway() as pid, closing(Publisher(port)) as publisher:
                with Watch(home, session.count):
                    publisher.publish(messages, 1)
                sizes.append(resident_mb(pid))
    yield Row("memory-50-devices", value=Spread.of(sizes), unit="MB")


def help_cpu(bench: Bench) -> Iterator[Row]:
    """Yield the CPU time of `evenload --help`, user and system."""
    seconds = []
    for _ in range(bench.rounds):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "evenload", "--help"],
            cwd=ROOT,
            env=of_checkout(ROOT),
            stdout=subprocess.DEVNULL,
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    yield Row("help-cpu", value=Spread.of(seconds), unit="s")


# -- the program


def all_rows(bench: Bench, wanted: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of the cases whose names contain one of `wanted`."""
    for name, work in _cases(bench):
        if any(word in name for word in wanted):
            yield from work()


def _cases(bench: Bench) -> Iterator[tuple[str, Callable[[], Iterable[Row]]]]:
    parts = [replace(session, count=max(1, int(session.count * bench.scale))) for session in SESSIONS]
    for part, qos in product(parts, (0, 1)):
        yield f"{part.name}-qos{qos}", partial(run_session, bench, part, qos)
    rush = next(part for part in parts if part.name == "burst-5000")
    yield f"{rush.name}-qos1-bounded", partial(run_session, bench, rush, 1, bounded=True)
    for driver, qos in product(("senml_meter", "bench_meter"), (0, 1)):
        yield f"sustained-{driver}-qos{qos}", partial(sustained, bench, qos, driver)
    yield "memory-50-devices", partial(memory, bench)
    yield "help-cpu", partial(help_cpu, bench)


@contextmanager
def checkout(commit: str, folder: Path) -> Iterator[Path | None]:
    """Check an older commit out beside this one until the block ends; None where this clone does not have it."""
    place = folder / "before"
    git = ["git", "-C", str(ROOT), "worktree"]
    done = subprocess.run([*git, "add", "--detach", str(place), commit], capture_output=True, check=False)  # noqa: S603
    if done.returncode != 0:
        sys.stderr.write(f"There is no commit {commit} here to be measured beside.\n")
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run([*git, "remove", "--force", str(place)], check=True)  # noqa: S603


def _shown(spread: Spread) -> str:
    digits = 0 if spread.median >= 100 else 1 if spread.median >= 10 else 2  # noqa: PLR2004  three digits say enough
    return " ".join([f"{spread.median:,.{digits}f}", f"({spread.least:,.{digits}f} to {spread.most:,.{digits}f})"])


def table(rows: Sequence[Row]) -> str:
    """Return the rows in Markdown."""
    lines = ["| case | sent | stored | lost | p99, s | figure | CPU a message | ratio |", "|---" * 8 + "|"]
    for row in rows:
        counts = ["" if number is None else f"{number:,}" for number in (row.sent, row.stored, row.lost)]
        p99 = "" if row.p99_s is None else _shown(row.p99_s)
        figure = "" if row.value is None else f"{_shown(row.value)} {row.unit}"
        ratio = "" if row.ratio is None else f"{_shown(row.ratio)} of {row.yardstick}"
        cpu = "" if row.cpu_us is None else f"{row.cpu_us.median:.0f} µs"
        lines.append(f"| {row.case} | {' | '.join(counts)} | {p99} | {figure} | {cpu} | {ratio} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--cases", default="", help="only those whose names contain one of these, with commas between")
    options.add_argument("--quick", action="store_true", help="one round of few messages; shows that it works")
    options.add_argument("--rounds", type=int, help="how often each is measured (5)")
    options.add_argument("--json", type=Path, default=ROOT / "build" / "bench-bridges.json", help="where the rows go")
    chosen = options.parse_args(arguments)
    rounds = chosen.rounds or (1 if chosen.quick else 5)
    rows: list[Row] = []
    try:
        with tempfile.TemporaryDirectory(prefix="bench-bridges-") as folder, ExitStack() as stack:
            before = None if chosen.quick else stack.enter_context(checkout(BEFORE, Path(folder)))
            bench = Bench(Path(folder), rounds, before, QUICK if chosen.quick else 1.0)
            for row in all_rows(bench, chosen.cases.split(",")):
                rows.append(row)
                print(table([row]).splitlines()[-1], flush=True)
    except DriveError as error:
        print(f"bench-bridges: {error}", file=sys.stderr)
        return 1
    about = {name: value for name, value in machine().items() if name not in SERVERS_LIBRARIES}
    about |= {name: version(name) for name in ("paho-mqtt", "aiomqtt")}
    written_out = {"machine": about, "rounds": rounds, "quick": chosen.quick, "rows": [asdict(row) for row in rows]}
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(json.dumps(written_out, indent=1) + "\n", encoding="utf-8")
    print(f"\n{table(rows)}\n\nWritten to {chosen.json}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
