"""The VTN's settings: a TOML file, overruled by EVENLOAD_* variables."""

import ipaddress
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from core.errors import InvalidError
from core.spans import Duration
from vtn.services.settings import VtnSettings, WantedReport

IsoDuration = Annotated[
    Duration,
    BeforeValidator(lambda value: Duration.parse(value) if isinstance(value, str) else value),
    PlainSerializer(str),
]


def _positive(value: Duration) -> Duration:
    if value.months or value.seconds <= 0:
        raise ValueError("Write a positive duration such as PT10S.")
    return value


Period = Annotated[IsoDuration, AfterValidator(_positive)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class KeyPair(_Section):
    """A certificate (chain) and its key, PEM files."""

    cert: Path
    key: Path


class OpenADRSettings(_Section):
    """The listener for VENs."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8443
    prefix: str = ""
    url: str | None = None
    """What gateways are told; made from host and port if left out."""
    certificates: tuple[KeyPair, ...] = ()
    """One, or an RSA and an ECC one."""
    ca: Path | None = None
    """Whose client certificates are let in."""
    tls: Literal["modern", "certification"] = "modern"
    insecure: bool = False
    """Plain HTTP, on loopback only; VENs are then taken at their word."""
    proxy_header: str | None = None
    proxy_secret: str | None = None
    poll_period: Period = Duration.of(seconds=10)
    strict: bool = False
    max_tries: Annotated[int, Field(ge=1, le=1000)] = 10
    max_body_bytes: Annotated[int, Field(ge=10_000, le=100_000_000)] = 4 * 1024 * 1024


class ApiSettings(_Section):
    """The listener for operators and enrolling gateways."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8081
    certificate: KeyPair | None = None
    """Without one it speaks plain HTTP, which is only allowed on loopback."""
    hosts: tuple[str, ...] = ()
    """Host names that clients may use, beside the listener's own."""


class ReportSettings(_Section):
    """A report that every VEN is asked for once it has registered its reports."""

    name: str
    granularity: IsoDuration = Duration()
    report_back: IsoDuration = Duration()
    history: IsoDuration | None = None


class Settings(BaseSettings):
    """Everything about a VTN process. Paths are relative to the settings file."""

    model_config = SettingsConfigDict(
        env_prefix="EVENLOAD_", env_nested_delimiter="__", extra="forbid", frozen=True, arbitrary_types_allowed=True
    )

    vtn_id: Annotated[str, Field(min_length=1, max_length=80)] = "evenload"
    database: str = "sqlite:///vtn.db"
    authority: Path | None = None
    """Directory of the certificate authority; without it gateways cannot enrol by code."""
    clock: Path | None = None
    """A run's clock file; without it, the host's time."""
    openadr: OpenADRSettings = OpenADRSettings()
    api: ApiSettings = ApiSettings()
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
        )


def load_settings(path: Path) -> Settings:
    """Read a settings file. Raises InvalidError that names the file, the place and the fault."""
    try:
        raw: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidError(f"{path}: no such file.") from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidError(f"{path}: {error}") from error
    try:
        settings = Settings(**raw)
    except (ValidationError, InvalidError) as error:
        if isinstance(error, InvalidError):
            raise InvalidError(f"{path}: {error}") from error
        faults = "; ".join(f"{'.'.join(str(step) for step in one['loc'])}: {one['msg']}" for one in error.errors())
        raise InvalidError(f"{path}: {faults}") from error
    settings = _anchored(settings, path.parent)
    _check_listeners(settings, path)
    return settings


def _anchored(settings: Settings, base: Path) -> Settings:
    """Take relative paths from the settings file's directory."""

    def at(path: Path | None) -> Path | None:
        return None if path is None else base / path

    def pair(keys: KeyPair) -> KeyPair:
        return KeyPair(cert=base / keys.cert, key=base / keys.key)

    database = settings.database
    prefix = "sqlite:///"
    if database.startswith(prefix):
        database = f"{prefix}{base.resolve() / database.removeprefix(prefix)}"
    openadr = settings.openadr.model_copy(
        update={
            "ca": at(settings.openadr.ca),
            "certificates": tuple(pair(one) for one in settings.openadr.certificates),
        }
    )
    certificate = settings.api.certificate
    api = settings.api.model_copy(update={"certificate": pair(certificate) if certificate else None})
    return settings.model_copy(
        update={
            "database": database,
            "authority": at(settings.authority),
            "clock": at(settings.clock),
            "openadr": openadr,
            "api": api,
        }
    )


def _check_listeners(settings: Settings, path: Path) -> None:
    """Raise InvalidError for a listener that would speak in the clear beyond this machine."""
    openadr = settings.openadr
    behind_proxy = openadr.proxy_header is not None
    if (openadr.insecure or behind_proxy) and not _is_loopback(openadr.host):
        raise InvalidError(f"{path}: openadr.insecure and openadr.proxy_header are for loopback addresses only.")
    if behind_proxy and not openadr.proxy_secret:
        raise InvalidError(f"{path}: openadr.proxy_header needs openadr.proxy_secret.")
    if not openadr.insecure and not behind_proxy and (not openadr.certificates or openadr.ca is None):
        raise InvalidError(
            f"{path}: openadr needs certificates and ca for mutual TLS (make them with `evenload certs`), "
            "or insecure = true on loopback."
        )
    if settings.api.certificate is None and not _is_loopback(settings.api.host):
        raise InvalidError(f"{path}: api.certificate is needed on {settings.api.host}.")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
