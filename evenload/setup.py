"""Setting up a VTN: its directory, and who may operate it."""

import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from certs.authority import Authority
from certs.files import is_vacant, make_private_directory, write_new
from core.errors import ConflictError, InvalidError, UnavailableError
from evenload.settings import Settings, is_loopback, is_wildcard, load_settings
from vtn.services import passwords, principals, sessions
from vtn.store.database import Database
from vtn.store.sealing import make_key
from web.auth import Role

_TOML = """\
# Settings of an evenload VTN. Paths are relative to this file; EVENLOAD_* variables overrule it.
vtn_id = {vtn_id}
database = "sqlite:///vtn.db"
authority = "ca"
{clock}
[openadr]                       # VENs, mutual TLS
host = "{host}"
port = {openadr_port}{url}
certificates = [{{cert = "server-ec.pem", key = "server-ec.key"}}, {{cert = "server-rsa.pem", key = "server-rsa.key"}}]
ca = "ca/ca.pem"
poll_period = "{poll_period}"

[api]                           # operators, and gateways that enrol
host = "{host}"
port = {api_port}
certificate = {{cert = "server-ec.pem", key = "server-ec.key"}}
hosts = [{hosts}]
{console}
[[reports]]                     # asked of every VEN that offers them
name = "HISTORY_USAGE"
history = "P20D"

[[reports]]
name = "TELEMETRY_USAGE"
granularity = "{granularity}"
report_back = "{report_back}"

[[reports]]
name = "TELEMETRY_STATUS"
granularity = "{granularity}"
report_back = "{report_back}"

[[reports]]                     # how much each household could change; also sent when that changes
name = "x-FLEXIBILITY_POTENTIAL"
granularity = "PT30M"
report_back = "PT30M"

[[reports]]                     # what VENs themselves say that events brought; at once when they know
name = "x-SELF_ASSESSMENT"
report_back = "P1D"
"""

_CONSOLE = """
[console]                       # people with a browser
host = "{host}"
port = {port}{certificate}
hosts = [{hosts}]
"""
CONSOLE_PORT = 8445


@dataclass(frozen=True, slots=True)
class Shape:
    """What a prepared directory says besides its defaults. Port 0 takes a free one (for tests and the demo)."""

    host: str = "0.0.0.0"  # noqa: S104  a VTN is there to be reached
    openadr_port: int = 8443
    api_port: int = 8444
    poll_period: str = "PT10S"
    granularity: str = "PT1M"
    report_back: str = "PT15M"
    clock: str | None = None
    console_port: int | None = None
    """None: no console. On loopback it speaks plain HTTP, elsewhere TLS."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` made."""

    settings: Path
    token: str


async def prepare(directory: Path, names: tuple[str, ...], vtn_id: str, shape: Shape | None = None) -> Prepared:
    """Make settings, CA, server certificates (EC and RSA) and an admin token in a new or empty directory.

    All of it or nothing. `names` are the host names and addresses by which VENs and operators reach this machine.
    Raises ConflictError if the directory holds anything: nothing is ever overwritten.
    """
    if not is_vacant(directory):
        raise ConflictError(f"{directory} is not empty; choose a new directory.")
    new = not directory.exists()
    if new:
        make_private_directory(directory)
    try:
        directory.chmod(0o700)
        return await _fill(directory, names or ("localhost",), vtn_id, shape or _usual(names))
    except BaseException as error:
        for path in directory.iterdir():  # it was empty: all of this is ours
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if new:
            directory.rmdir()
        if isinstance(error, OSError):
            raise UnavailableError(f"{directory} cannot be prepared: {error.strerror or error}.") from error
        raise


def _usual(names: tuple[str, ...]) -> Shape:
    """Return the usual shape: without a name by which others reach this machine, it listens for this machine alone."""
    return Shape(console_port=CONSOLE_PORT) if names else Shape("127.0.0.1", console_port=CONSOLE_PORT)


async def _fill(directory: Path, names: tuple[str, ...], vtn_id: str, shape: Shape) -> Prepared:
    if "*" in names[0]:
        raise InvalidError("The first --host is what VENs are told; it cannot hold a '*'.")
    known = tuple(dict.fromkeys((*names, "localhost", "127.0.0.1")))
    authority = Authority.create(directory / "ca", f"{vtn_id[:60]} CA")
    for kind in ("ec", "rsa"):
        issued = authority.issue_server(known, key_type=kind, calls_clients=True)
        write_new(directory / f"server-{kind}.key", issued.key_pem or "")
        write_new(directory / f"server-{kind}.pem", issued.chain_pem)
    name = f"[{names[0]}]" if ":" in names[0] else names[0]
    settings = directory / "vtn.toml"
    text = _TOML.format(
        vtn_id=_toml(vtn_id),
        url=f'\nurl = "https://{name}:{shape.openadr_port}/OpenADR2/Simple/2.0b"' if shape.openadr_port else "",
        hosts=", ".join(map(_toml, known)),
        clock=f"clock = {_toml(shape.clock)}\n" if shape.clock else "",
        host=shape.host,
        openadr_port=shape.openadr_port,
        api_port=shape.api_port,
        poll_period=shape.poll_period,
        granularity=shape.granularity,
        report_back=shape.report_back,
        console=_console(shape, known),
    )
    write_new(settings, text)
    make_key(directory / "backup.key")
    token = await add_operator_async(settings, "admin", Role.ADMIN, None)
    return Prepared(settings, token)


def _console(shape: Shape, names: tuple[str, ...]) -> str:
    if shape.console_port is None:
        return ""
    keys = "" if is_loopback(shape.host) else '\ncertificate = {cert = "server-ec.pem", key = "server-ec.key"}'
    hosts = ", ".join(map(_toml, names))
    return _CONSOLE.format(host=shape.host, port=shape.console_port, certificate=keys, hosts=hosts)


def _toml(text: str) -> str:
    """Return a TOML string: what JSON writes is one."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


@asynccontextmanager
async def _database(config: Path) -> AsyncIterator[Database]:
    """Open the VTN's database; it may run meanwhile."""
    db = await Database.open(load_settings(config).database)
    try:
        yield db
    finally:
        await db.close()


async def add_operator_async(config: Path, name: str, role: Role, lifetime: timedelta | None) -> str:
    """Create an operator in the VTN's database and return the token."""
    async with _database(config) as db, db.write() as tx:
        return await principals.create(tx, name, role, datetime.now(UTC), who=_me(), lifetime=lifetime)


async def add_operator(config: Path, name: str, role: str, lifetime: timedelta | None) -> str:
    """Create an operator by the role's name. Raises InvalidError for a role that operators do not have."""
    if role not in ("viewer", "dispatcher", "admin"):
        raise InvalidError(f"Unknown role '{role}'; use viewer, dispatcher or admin.")
    return await add_operator_async(config, name, Role(role), lifetime)


async def list_operators(config: Path) -> list[dict[str, Any]]:
    """Return all operators."""
    async with _database(config) as db, db.read() as conn:
        return [asdict(one) for one in await principals.everyone(conn)]


async def revoke_operator(config: Path, name: str) -> None:
    """Revoke an operator's token."""
    async with _database(config) as db, db.write() as tx:
        await principals.revoke(tx, name, datetime.now(UTC), who=_me())


async def set_password(config: Path, name: str, password: str | None) -> None:
    """Give an operator a password for the console, or take it away; its sessions end. Raises InvalidError."""
    stored = None if password is None else passwords.hash_password(password)
    now = datetime.now(UTC)
    async with _database(config) as db, db.write() as tx:
        await sessions.set_password(tx, name, stored, now, who=_me())
        await sessions.end_others(tx, (await principals.named(tx.conn, name)).id, None)


async def login_link(config: Path, name: str, url: str | None = None) -> str:
    """Return a link that signs an operator in to the console, once, within ten minutes.

    `url` is where the console is reached, if the settings do not say it. Raises InvalidError without a console.
    """
    base = url or console_url(load_settings(config))
    now = datetime.now(UTC)
    async with _database(config) as db, db.write() as tx:
        token = await sessions.new_link(tx, name, now, now, who=_me())
    return f"{base.rstrip('/')}/link/{token}"


def console_url(settings: Settings, port: int | None = None) -> str:
    """Return an address of the console for a browser; `port` where the system chose it. Raises InvalidError."""
    console = settings.console
    if console is None:
        raise InvalidError("This VTN has no console: its settings have no section [console].")
    if console.url is not None:
        return console.url.rstrip("/")
    number = console.port if port is None else port
    if not number:
        raise InvalidError("The console takes whatever port is free; name its address with --url.")
    host = console.host
    if is_wildcard(host):
        host = next((one for one in console.hosts if "*" not in one), "localhost")
    scheme = "https" if console.certificate else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{number}"


def _me() -> str:
    return f"local user {os.getuid()}"
