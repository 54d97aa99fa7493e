"""The adapters for VTNs without an API of ours: VENs from a file, and a person at the terminal, or nobody."""

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from conformance.operator import EventOrder, Identity, ReportOrder, SignalOrder, UnableError
from conformance.operators import restarting
from conformance.wire import Credentials
from core.errors import InvalidError

Ask = Callable[[str], str]
"""Shows a text to a person and returns what they type; "no" says that it cannot be done."""


@dataclass(frozen=True, slots=True)
class VenFile:
    """The VENs that a VTN knows beforehand, and an expired certificate of its authority if there is one."""

    vens: tuple[Identity, ...] = ()
    expired: Credentials | None = None


def read_vens(path: Path) -> VenFile:
    """Read a TOML file with tables `[[vens]]` (name, certificate, key, ven_id) and perhaps `[expired]`.

    Paths are relative to the file. Raises InvalidError.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        vens = tuple(_identity(path.parent, each) for each in _listed(table.get("vens", [])))
        expired = _credentials(path.parent, table["expired"]) if "expired" in table else None
    except OSError as error:
        raise InvalidError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InvalidError(f"{path} names no VENs: {error}.") from error
    return VenFile(vens, expired)


def _listed(vens: object) -> list[object]:
    if not isinstance(vens, list):
        raise ValueError("each VEN has a table [[vens]] of its own")  # noqa: TRY004  the text is for people
    return vens


def _identity(base: Path, table: object) -> Identity:
    name = _text(table, "name")
    credentials = _credentials(base, table) if _has(table, "certificate") else None
    return Identity(name, credentials, _text(table, "ven_id") if _has(table, "ven_id") else None)


def _credentials(base: Path, table: object) -> Credentials:
    return Credentials(_file(base, table, "certificate"), _file(base, table, "key"))


def _file(base: Path, table: object, entry: str) -> Path:
    path = base / _text(table, entry)
    if not path.is_file():
        raise ValueError(f"there is no file {path}, its {entry}")
    return path


def _has(table: object, entry: str) -> bool:
    return isinstance(table, dict) and entry in table


def _text(table: object, entry: str) -> str:
    """Return an entry of a table. Raises ValueError, which says what is missing."""
    value = table.get(entry) if isinstance(table, dict) else None
    if not isinstance(value, str) or not value:
        raise ValueError(f"a VEN has no {entry}, or one that is no text")
    return value


@dataclass
class PersonOperator:
    """VENs in turn, and what only an operator can do asked of a person; without `ask` it cannot be done.

    `restart_command` restarts the VTN in the person's place.
    """

    vens: Sequence[Identity]
    ask: Ask | None = None
    restart_command: str | None = None
    _given: int = 0
    _handles: dict[str, EventOrder] = field(default_factory=dict)

    def now(self) -> datetime:
        """Return the real time."""
        return datetime.now(UTC)

    def provide(self, name: str, *, rsa: bool = False) -> Identity:
        """Return the next VEN of the file: they take turns, as registering without ids begins afresh."""
        del name
        if rsa:
            raise UnableError("the file does not say which certificates are of RSA keys")
        if not self.vens:
            raise UnableError("no VEN is named; write a file for --vens")
        self._given += 1
        return self.vens[(self._given - 1) % len(self.vens)]

    def fingerprint(self, ven_id: str) -> str:
        """Ask what the VTN shows."""
        return self._do(f"Type the fingerprint that the VTN shows for the certificate of {ven_id}.")

    def require_signatures(self, ven: Identity, *, required: bool = True) -> None:
        """Ask for the setting."""
        wanted = "Require" if required else "No longer require"
        whose = "" if ven.credentials is None else f", by the key of its certificate {ven.credentials.certificate}"
        self._do(f"{wanted} XML signatures of {ven.name}{whose}.")

    def create_event(self, order: EventOrder, ven_ids: Sequence[str]) -> str:
        """Ask for an event."""
        handle = f"event {len(self._handles) + 1}"
        self._handles[handle] = order
        self._do(f"Create {handle} for {', '.join(ven_ids)}:\n{_event(order)}")
        return handle

    def change_event(
        self, handle: str, *, start: datetime | None = None, signals: Sequence[SignalOrder] | None = None
    ) -> None:
        """Ask for a change."""
        old = self._handles[handle]
        order = replace(old, start=start or old.start, signals=tuple(signals or old.signals))
        self._do(f"Change {handle} to:\n{_event(order)}")

    def cancel_event(self, handle: str) -> None:
        """Ask for a cancellation."""
        self._do(f"Cancel {handle}.")

    def opt(self, handle: str, ven_id: str) -> str | None:
        """Ask what the VTN shows."""
        return (
            self._do(f"Type optIn, optOut or nothing: the answer of {ven_id} to {handle} as the VTN shows it.") or None
        )

    def request_report(self, ven_id: str, order: ReportOrder) -> None:
        """Ask for a report request."""
        span = f", from {order.start} for {order.duration_s} s" if order.start is not None else ""
        self._do(
            f"Request a report of {ven_id}: reportSpecifierID {order.specifier}, rIDs {', '.join(order.r_ids)}, "
            f"granularity {order.granularity_s} s, reportBackDuration {order.back_s} s{span}."
        )

    def cancel_reports(self, ven_id: str) -> None:
        """Ask for cancellations."""
        self._do(f"Cancel all report requests of {ven_id}.")

    def reregister(self, ven_id: str) -> None:
        """Ask for a request to register again."""
        self._do(f"Have {ven_id} asked to register again.")

    def unregister(self, ven_id: str) -> None:
        """Ask for the cancellation of a registration."""
        self._do(f"Cancel the registration of {ven_id}.")

    def restart(self) -> None:
        """Run the command, or ask for a restart."""
        if self.restart_command is not None:
            restarting.run(self.restart_command)
        else:
            self._do("Restart the VTN: end it, and start it again.")

    def _do(self, text: str) -> str:
        if self.ask is None:
            raise UnableError("it takes an operator, and nobody is there to ask (--ask)")
        typed = self.ask(text).strip()
        if typed.lower() == "no":
            raise UnableError("the operator could not do it")
        return typed


def _event(order: EventOrder) -> str:
    lines = [f"  market context {order.market_context}", f"  start {order.start.isoformat()}"]
    lines += [f"  signal {each.name} {each.type} {each.unit}: {_spans(each.values)}" for each in order.signals]
    extra = {
        "priority": order.priority,
        "notification (s)": order.notification_s,
        "ramp-up (s)": order.ramp_up_s,
        "startafter (s)": order.start_after_s,
        "resources": ", ".join(order.resources),
        "baseline": _spans(order.baseline),
    }
    lines += [f"  {name} {value}" for name, value in extra.items() if value]
    return "\n".join([*lines, f"  responseRequired {'always' if order.always else 'never'}"])


def _spans(values: Sequence[tuple[int, float]]) -> str:
    return ", ".join(f"{length} s of {value}" for length, value in values)
