"""Setting up a VTN: its directory, and who may operate it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from certs.authority import Authority
from core.errors import ConflictError, InvalidError
from evenload.settings import load_settings
from vtn.store.database import Database
from vtn.web import principals
from vtn.web.auth import Role

_TOML = """\
# Settings of an evenload VTN. Paths are relative to this file; EVENLOAD_* variables overrule it.
vtn_id = "{vtn_id}"
database = "sqlite:///vtn.db"
authority = "ca"
{clock}
[openadr]                       # VENs, mutual TLS
host = "{host}"
port = {openadr_port}
url = "https://{name}:{openadr_port}/OpenADR2/Simple/2.0b"
certificates = [{{cert = "server-ec.pem", key = "server-ec.key"}}, {{cert = "server-rsa.pem", key = "server-rsa.key"}}]
ca = "ca/ca.pem"
poll_period = "{poll_period}"

[api]                           # operators, and gateways that enrol
host = "{host}"
port = {api_port}
certificate = {{cert = "server-ec.pem", key = "server-ec.key"}}
hosts = [{hosts}]

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
"""


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


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` made."""

    settings: Path
    token: str


async def prepare(directory: Path, names: tuple[str, ...], vtn_id: str, shape: Shape | None = None) -> Prepared:
    """Make settings, CA, server certificates (EC and RSA) and an admin token in a new or empty directory.

    Raises ConflictError if the directory holds anything: nothing is ever overwritten.
    """
    shape = shape or Shape()
    if directory.exists() and any(directory.iterdir()):
        raise ConflictError(f"{directory} is not empty; choose a new directory.")
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    names = names or ("localhost",)
    known = tuple(dict.fromkeys((*names, "localhost", "127.0.0.1")))
    authority = Authority.create(directory / "ca", f"{vtn_id} CA")
    for kind in ("ec", "rsa"):
        issued = authority.issue_server(known, key_type=kind)
        _write(directory / f"server-{kind}.key", issued.key_pem or "")
        _write(directory / f"server-{kind}.pem", issued.chain_pem)
    settings = directory / "vtn.toml"
    text = _TOML.format(
        vtn_id=vtn_id,
        name=names[0],
        hosts=", ".join(f'"{name}"' for name in known),
        clock=f'clock = "{shape.clock}"\n' if shape.clock else "",
        host=shape.host,
        openadr_port=shape.openadr_port,
        api_port=shape.api_port,
        poll_period=shape.poll_period,
        granularity=shape.granularity,
        report_back=shape.report_back,
    )
    _write(settings, text)
    token = await add_operator_async(settings, "admin", Role.ADMIN, None)
    return Prepared(settings, token)


def _write(path: Path, content: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)


@asynccontextmanager
async def _database(config: Path) -> AsyncIterator[Database]:
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


def _me() -> str:
    return f"local user {os.getuid()}"
