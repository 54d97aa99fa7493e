"""The VTN's settings: a TOML file, overruled by EVENLOAD_* variables."""

import ipaddress
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError
from yarl import URL

from core.errors import InvalidError
from core.fault_words import fault_words
from core.spans import ZERO, Duration
from vtn.services.settings import LogBounds, VtnSettings, WantedReport
from web.connections import Limits
from web.http_client import Guard
from web.listening import free_handles

_PREFIX: Final = "EVENLOAD_"
_SQLITE: Final = "sqlite:///"
_LONGEST_S: Final = 366 * 86400
VTN_ID: Final = "EVENLOAD"
"""The vtnID unless another one is chosen. openleadr's VEN takes one in lower case for a wrong id."""


def _duration(value: object) -> Duration:
    """Read a duration from zero to a year, without months: their length depends on the calendar."""
    if not isinstance(value, Duration):
        try:
            value = Duration.parse(value) if isinstance(value, str) else None
        except InvalidError:
            value = None
    if value is None or value.months or not 0 <= value.seconds <= _LONGEST_S:
        raise ValueError("write a duration such as PT10S or P20D, at most P366D")
    return value


def _positive(value: Duration) -> Duration:
    if not value or value.seconds > 86400:  # noqa: PLR2004  beyond a day nobody would notice that a VEN is gone
        raise ValueError("write a duration from PT1S to P1D")
    return value


def _not_zero(value: Duration) -> Duration:
    if not value:
        raise ValueError("write a duration such as P30D")
    return value


def _zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("write an IANA time zone such as Europe/London")
    return name


def _networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        try:
            ipaddress.ip_network(text)
        except ValueError:
            raise ValueError("write addresses and networks such as 127.0.0.1 or 10.1.0.0/16") from None
    return texts


IsoDuration = Annotated[Duration, BeforeValidator(_duration), PlainSerializer(str)]
Period = Annotated[IsoDuration, AfterValidator(_positive)]
Networks = Annotated[tuple[str, ...], AfterValidator(_networks)]


def _addresses(entries: tuple[str, ...]) -> tuple[str, ...]:
    try:
        Guard.allowing(entries)
    except InvalidError as error:
        raise ValueError(str(error)) from error
    return entries


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class KeyPair(_Section):
    """A certificate (chain) and its key, PEM files."""

    cert: Path
    key: Path


class PushSettings(_Section):
    """Pushing to VENs that register in push mode; a VTN without `openadr.certificates` does not push."""

    allow: Annotated[tuple[str, ...], AfterValidator(_addresses)] = ()
    """Addresses of VENs beside public ones: hosts ("home.local", "localhost:8080") and networks ("10.1.0.0/16")."""
    timeout_s: Annotated[float, Field(ge=5, le=120)] = 10.0
    """A VEN answers within so many seconds."""
    longest_pause: Annotated[IsoDuration, AfterValidator(_not_zero)] = Duration.of(minutes=5)
    """Between two tries at most; the first ones come after 1 s, 2 s, 4 s ..."""
    unreachable_after: Annotated[int, Field(ge=1, le=1000)] = 5
    """A VEN is shown as unreachable after so many failures in a row."""


class LogSettings(_Section):
    """The log of messages: exchanges with VENs in the database, without empty polls and secrets; not in backups."""

    keep: IsoDuration = Duration.of(days=14)
    """How long (server time); PT0S keeps no log, and deletes what there is."""
    messages: Annotated[int, Field(ge=1, le=10_000_000)] = 200_000
    """At most so many, each with its answer; the oldest go first."""
    bytes: Annotated[int, Field(ge=1_000_000, le=1_000_000_000_000)] = 256_000_000
    """At most so much of the database, by and large."""
    messages_per_ven: Annotated[int, Field(ge=1, le=10_000_000)] = 500
    bytes_per_ven: Annotated[int, Field(ge=100_000, le=1_000_000_000_000)] = 4_000_000
    report_every: IsoDuration = Duration.of(minutes=10)
    """Of reports of data that were taken, one of each VEN is kept in so long; PT0S keeps all of them."""

    def bounds(self) -> LogBounds:
        """Return what the log needs."""
        each = self.messages_per_ven, self.bytes_per_ven
        return LogBounds(self.keep, self.messages, self.bytes, *each, self.report_every)


class OwnReportSettings(_Section):
    """Reports that this VTN offers to VENs: to each its own energy as it is settled, as telemetry and as history."""

    offer: bool = False
    """Some VENs do not expect that a VTN offers any."""
    settle: IsoDuration = Duration.of(minutes=15)
    """How long a periodic report waits after the end of what it covers, so that the readings are there."""


class OpenADRSettings(_Section):
    """The listener for VENs."""

    host: str = "127.0.0.1"
    """Where VENs connect."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8443
    prefix: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)*$", max_length=200)] = ""
    """What stands before /OpenADR2/Simple/2.0b/ in the address, such as /vtn."""
    url: str | None = None
    """What gateways are told; made from host and port if left out. Needed where `host` is a wildcard (0.0.0.0)."""
    certificates: tuple[KeyPair, ...] = ()
    """One, or an RSA and an ECC one."""
    signing: tuple[KeyPair, ...] = ()
    """What signs messages to VENs that want XML signatures; `certificates` if left out. Needed where TLS ends at a
    proxy. VENs must find in it what they find in a server's certificate: their CA, and the name by which they call."""
    signature_window: Annotated[IsoDuration, AfterValidator(_not_zero)] = Duration.of(seconds=60)
    """How far the time in an XML signature may be from this machine's, either way."""
    ca: Path | None = None
    """Whose client certificates are let in."""
    crl: Path | None = None
    """A revocation list of that CA: revoked clients are then refused in the TLS handshake already."""
    tls: Literal["compatible", "modern", "certification"] = "compatible"
    """Suites. `compatible`: modern ones first, and the specification's for VENs that have no other (the RSA one needs
    an RSA certificate); `modern`: without those; `certification`: TLS 1.2 with exactly the specification's."""
    insecure: bool = False
    """Plain HTTP for experiments, on loopback only. VENs are taken at their word: by venID, or when they first register
    by oadrVenName, the VEN's name (or venID) in `evenload fleet list`; a gateway's is the `name` of its household."""
    proxy_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,80}$")] | None = None
    """Where TLS ends at a proxy: the header that holds the client's fingerprint, AA:BB:..., on loopback only."""
    proxy_secret: Annotated[str, Field(min_length=16, max_length=200)] | None = None
    """What the proxy says in X-Proxy-Secret, so that nobody else on this machine can speak for a VEN."""
    poll_period: Period = Duration.of(seconds=10)
    """How often VENs are asked to poll."""
    strict: bool = False
    """Hold every VEN to the schema to the letter."""
    max_tries: Annotated[int, Field(ge=1, le=1000)] = 10
    """A message is given up after so many sendings without an answer."""
    max_body_bytes: Annotated[int, Field(ge=10_000, le=100_000_000)] = 4 * 1024 * 1024
    """The largest message that is read."""
    push: PushSettings = PushSettings()
    own_reports: OwnReportSettings = OwnReportSettings()
    log: LogSettings = LogSettings()


class ConnectionSettings(_Section):
    """How many connections all listeners of a process hold. Strangers give way; known VENs are bounded by name."""

    most: Annotated[int, Field(ge=16, le=1_000_000)] | None = None
    """In all; if left out, as many as the limit of open files allows, less a reserve."""
    per_address: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """By clients of one address (IPv6: of one /64) that have not shown an accepted certificate (yet)."""
    per_client: Annotated[int, Field(ge=1, le=10_000)] = 32
    """By one certificate."""
    handshake_s: Annotated[float, Field(gt=0, le=300)] = 20.0
    """A TLS handshake takes this long at most, and so does a stranger's first request."""
    idle_s: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    """A connection without a request is closed after that."""
    answer_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """A client that does not fetch its answer is cut off after that."""

    def limits(self) -> Limits:
        """Return what the listeners need."""
        most = free_handles() if self.most is None else min(self.most, free_handles())
        return Limits(most, self.per_address, self.per_client, self.handshake_s, self.idle_s, self.answer_s)


class ApiSettings(_Section):
    """The listener for operators and enrolling gateways."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8081
    certificate: KeyPair | None = None
    """Without one it speaks plain HTTP, which is only allowed on loopback."""
    hosts: tuple[str, ...] = ()
    """Host names that clients may use, beside the listener's own."""
    proxies: Networks = ()
    """Proxies in front of it, whose X-Forwarded-For says who calls."""


class ConsoleSettings(_Section):
    """The listener for people with a browser."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8445
    certificate: KeyPair | None = None
    """Without one it speaks plain HTTP, which is only allowed on loopback."""
    hosts: tuple[str, ...] = ()
    """Host names that browsers may use, beside the listener's own."""
    proxies: Networks = ()
    """Proxies in front of it, whose X-Forwarded-For says who calls."""
    url: Annotated[str, Field(pattern=r"^https?://[^/?#\s]+/?$", max_length=300)] | None = None
    """What browsers call it, where that is another address: a proxy that ends TLS in front of it."""
    time_zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    """In which times are shown, but for pages about a programme, which has its own."""
    cache: Path = Path("cache")
    """Where the chart library is kept, which is written once out of an installed package."""

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach it by TLS."""
        return self.certificate is not None or (self.url or "").startswith("https:")


class BrpSettings(_Section):
    """The API for balance responsible parties, on the listener of `api`."""

    requests_per_minute: Annotated[int, Field(ge=1, le=100_000)] = 300
    """How often each of their programs may ask, in each process."""
    mutual_tls: bool = False
    """Ask callers of `api` for a certificate of openadr.ca, for programs whose tokens are bound to one."""


class MarketTimes(_Section):
    """How the trade with balance responsible parties goes on by itself, in world time."""

    offer_valid: Period = Duration.of(hours=1)
    """How long an offer stands, never beyond the households' notice before its start."""
    report_after: IsoDuration = Duration.of(minutes=10)
    """When the first report on an activation comes after its end: the readings need time to arrive."""
    final_after: IsoDuration = Duration.of(days=7)
    """When the report is final; until then late readings make new versions."""
    potential_kept: IsoDuration = Duration.of(days=7)
    """How long every potential is kept after another took its place; later one a day stays."""


class OutgoingSettings(_Section):
    """Whom this server calls by itself: webhooks and sources of prices. By default only https to public addresses."""

    allow: tuple[str, ...] = ()
    """Others that may be called: hosts ("prices.local", "localhost:8080") and networks ("10.1.0.0/16")."""
    ca: Path | None = None
    """A PEM file of further authorities to trust."""


class EmailSettings(_Section):
    """A mail server that takes messages to operators."""

    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    tls: Literal["starttls", "tls", "none"] = "starttls"
    """`none` is for a server on this machine."""
    user: str | None = None
    password: str | None = None
    sender: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]
    to: Annotated[tuple[Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")], ...], Field(min_length=1, max_length=20)]


class AlertSettings(_Section):
    """Who is told when a certificate ends soon."""

    expires_within: Annotated[IsoDuration, AfterValidator(_not_zero)] = Duration.of(days=30)
    """How long before its end a certificate is told of."""
    email: EmailSettings | None = None
    webhook: Annotated[str, Field(pattern=r"^https?://\S+$", max_length=2000)] | None = None
    """An address that gets {"type", "timestamp", "data"}; [outgoing] says which ones may be called."""


class ReportSettings(_Section):
    """A report that every VEN is asked for once it has registered its reports."""

    name: Annotated[str, Field(min_length=1, max_length=80)]
    """Such as TELEMETRY_USAGE."""
    granularity: IsoDuration = ZERO
    """Length of an interval, within what each data point offers."""
    report_back: IsoDuration = ZERO
    """How often the report comes; goes with `granularity`."""
    history: IsoDuration | None = None
    """Ask once for so much of the past, instead of a report that comes again and again."""


class Settings(BaseSettings):
    """Everything about a VTN process. Paths are relative to the settings file."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, arbitrary_types_allowed=True
    )

    vtn_id: Annotated[str, Field(pattern=r"^[!-~]([ -~]*[!-~])?$", max_length=80)] = VTN_ID
    """The vtnID that VENs see; openleadr's VEN takes one in lower case for a wrong id."""
    database: str = "sqlite:///vtn.db"
    """Or `postgresql://user:password@host/name`."""
    authority: Path | None = None
    """Directory of the certificate authority; without it gateways cannot enrol by code."""
    backup_key: Path = Path("backup.key")
    """The key that seals the secrets in backups; `evenload backup` makes it if it is missing."""
    clock: Path | None = None
    """A run's clock file; without it, the host's time."""
    reuse_port: bool = False
    """Let several processes share the ports (one machine, one PostgreSQL); the system spreads connections."""
    openadr: OpenADRSettings = OpenADRSettings()
    api: ApiSettings = ApiSettings()
    connections: ConnectionSettings = ConnectionSettings()
    console: ConsoleSettings | None = None
    """Without this section there is no console."""
    brp: BrpSettings = BrpSettings()
    market: MarketTimes = MarketTimes()
    outgoing: OutgoingSettings = OutgoingSettings()
    alerts: AlertSettings = AlertSettings()
    reports: tuple[ReportSettings, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment overrule the file."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    def vtn(self) -> VtnSettings:
        """Return what the services need."""
        return VtnSettings(
            vtn_id=self.vtn_id,
            poll_period=self.openadr.poll_period,
            strict=self.openadr.strict,
            max_tries=self.openadr.max_tries,
            wanted_reports=tuple(
                WantedReport(one.name, one.granularity, one.report_back, one.history) for one in self.reports
            ),
            own_reports_after=self.openadr.own_reports.settle if self.openadr.own_reports.offer else None,
        )


def load_settings(path: Path) -> Settings:
    """Read a settings file. Raises InvalidError that names the file (or variable), the place and the fault."""
    try:
        raw: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidError(
            f"{path}: no such file. Name the VTN's settings with --config, or make them with `evenload vtn init`."
        ) from None
    except OSError as error:
        raise InvalidError(f"{path}: cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"{path} is not TOML: {error}.") from error
    try:
        settings = Settings(**raw)
    except ValidationError as error:
        raise InvalidError("\n  ".join(_fault(path, one) for one in error.errors()[:20])) from error
    except SettingsError as error:
        raise InvalidError(f"A variable {_PREFIX}... does not hold what it should: {error}.") from error
    settings = _anchored(settings, path.parent.resolve())
    _check(settings, path)
    return settings


def _fault(path: Path, error: ErrorDetails) -> str:
    """Say where a fault lies: in the file, or in the variable that overrules it."""
    steps = [str(step) for step in error["loc"]]
    named = {name.upper() for name in os.environ}
    variables = ["__".join(steps[:length]).upper() for length in range(len(steps), 0, -1)]
    variable = next((_PREFIX + name for name in variables if _PREFIX + name in named), None)
    where = variable or f"{path}: {'.'.join(steps)}"
    text = fault_words(
        error["type"], error["msg"], error["input"], unknown="no such setting; remove it or check its spelling"
    )
    return f"{where}: {text}."


def _anchored(settings: Settings, base: Path) -> Settings:
    """Take relative paths from the settings file's directory."""

    def at(path: Path | None) -> Path | None:
        return None if path is None else base / path

    def pair(keys: KeyPair) -> KeyPair:
        return KeyPair(cert=base / keys.cert, key=base / keys.key)

    database = settings.database
    if database.startswith(_SQLITE) and database != _SQLITE:
        database = f"{_SQLITE}{base / database.removeprefix(_SQLITE)}"
    openadr, certificate = settings.openadr, settings.api.certificate
    files = {
        "ca": at(openadr.ca),
        "crl": at(openadr.crl),
        "certificates": tuple(pair(one) for one in openadr.certificates),
        "signing": tuple(pair(one) for one in openadr.signing),
    }
    return settings.model_copy(
        update={
            "database": database,
            "authority": at(settings.authority),
            "backup_key": base / settings.backup_key,
            "clock": at(settings.clock),
            "openadr": openadr.model_copy(update=files),
            "api": settings.api.model_copy(update={"certificate": pair(certificate) if certificate else None}),
            "console": _anchored_console(settings.console, base),
            "outgoing": settings.outgoing.model_copy(update={"ca": at(settings.outgoing.ca)}),
        }
    )


def _anchored_console(console: ConsoleSettings | None, base: Path) -> ConsoleSettings | None:
    if console is None:
        return None
    keys = console.certificate
    certificate = None if keys is None else KeyPair(cert=base / keys.cert, key=base / keys.key)
    return console.model_copy(update={"certificate": certificate, "cache": base / console.cache})


def _check(settings: Settings, path: Path) -> None:
    """Raise InvalidError for settings that contradict each other, or would speak in the clear beyond this machine."""
    openadr = settings.openadr
    behind_proxy = openadr.proxy_header is not None
    in_the_clear = openadr.insecure or behind_proxy
    if in_the_clear and not is_loopback(openadr.host):
        raise InvalidError(f"{path}: openadr.insecure and openadr.proxy_header are for loopback addresses only.")
    if behind_proxy and openadr.insecure:
        raise InvalidError(f"{path}: openadr.insecure and openadr.proxy_header exclude each other.")
    if behind_proxy != (openadr.proxy_secret is not None):
        raise InvalidError(f"{path}: openadr.proxy_header and openadr.proxy_secret go together.")
    if not in_the_clear and (not openadr.certificates or openadr.ca is None):
        raise InvalidError(
            f"{path}: openadr needs certificates and ca for mutual TLS (make them with `evenload certs`), "
            "or insecure = true on loopback."
        )
    if settings.api.certificate is None and not is_loopback(settings.api.host):
        raise InvalidError(f"{path}: api.certificate is needed on {settings.api.host}.")
    if settings.console is not None and settings.console.certificate is None and not is_loopback(settings.console.host):
        raise InvalidError(f"{path}: console.certificate is needed on {settings.console.host}.")
    _check_brp(settings, path)
    if openadr.url is None and (is_wildcard(openadr.host) or behind_proxy):
        raise InvalidError(f"{path}: openadr.url is needed: the address by which VENs reach this VTN.")
    if openadr.url is not None and not _is_address(openadr.url, secure=not openadr.insecure):
        raise InvalidError(
            f"{path}: openadr.url is no address such as https://vtn.example.com:8443/OpenADR2/Simple/2.0b."
        )
    if settings.reuse_port and settings.database.startswith("sqlite"):
        raise InvalidError(f"{path}: reuse_port is for several processes on one PostgreSQL, not for SQLite.")


def _check_brp(settings: Settings, path: Path) -> None:
    if settings.brp.mutual_tls and (settings.api.certificate is None or settings.openadr.ca is None):
        raise InvalidError(f"{path}: brp.mutual_tls needs api.certificate and openadr.ca.")


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_wildcard(host: str) -> bool:
    """Tell whether this means every address of the machine: nothing that could be told to anybody."""
    return host in {"", "0.0.0.0", "::"}  # noqa: S104  compared, not bound


def _is_address(text: str, *, secure: bool) -> bool:
    try:
        url = URL(text)
    except ValueError:
        return False
    schemes = {"https"} if secure else {"https", "http"}
    return url.scheme in schemes and bool(url.host) and not (url.query_string or url.fragment or " " in text)
