"""Files of issued certificates, enrolments, and two ends of a real connection."""

import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from certs.authority import Authority, Issued
from certs.provisioning import Identity, new_key_and_request, store_bundle
from openadr.fingerprint import fingerprint

VTN_URL = "https://localhost:8443"


@dataclass(frozen=True)
class Met:
    """What server and client saw of each other, or the error that each got."""

    fingerprint: str | None = None
    cipher: str | None = None
    version: str | None = None
    server_fingerprint: str | None = None
    server_error: OSError | None = None
    client_error: OSError | None = None

    @property
    def ok(self) -> bool:
        return self.server_error is None and self.client_error is None


def _peer_of(connection: ssl.SSLSocket) -> str | None:
    """Return the fingerprint of the certificate that the peer has proven to own."""
    der = connection.getpeercert(binary_form=True)
    return fingerprint(der) if der else None


def meet(server: ssl.SSLContext, client: ssl.SSLContext, host: str = "localhost") -> Met:
    """Connect over loopback and exchange a word each way: with TLS 1.3 a refusal shows only then."""
    seen: dict[str, object] = {}

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(20)
            try:
                with server.wrap_socket(connection, server_side=True) as tls:
                    assert tls.recv(4) == b"ping"
                    seen.update(
                        fingerprint=_peer_of(tls),
                        cipher=tls.cipher()[0],
                        version=tls.version(),
                    )
                    tls.sendall(b"pong")
            except OSError as error:
                seen["server_error"] = error

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        listener.settimeout(20)
        served = pool.submit(serve, listener)
        with socket.create_connection(listener.getsockname(), timeout=20) as raw:
            try:
                with client.wrap_socket(raw, server_hostname=host) as tls:
                    tls.sendall(b"ping")
                    seen["server_fingerprint"] = _peer_of(tls)
                    if tls.recv(4) != b"pong":
                        raise ConnectionResetError("the server hung up")
            except OSError as error:
                seen["client_error"] = error
        served.result(timeout=20)
    return Met(**seen)


@dataclass(frozen=True)
class Files:
    """Where an issued certificate lies."""

    cert: Path
    key: Path
    fingerprint: str


def save(directory: Path, issued: Issued) -> Files:
    directory.mkdir()
    (directory / "cert.pem").write_text(issued.chain_pem)
    (directory / "key.pem").write_text(issued.key_pem)
    return Files(directory / "cert.pem", directory / "key.pem", issued.record.fingerprint)


def clock(days_ago: float) -> Callable[[], datetime]:
    return lambda: datetime.now(UTC) - timedelta(days=days_ago)


def bundle_for(authority: Authority, issued: Issued, **changes: object) -> dict[str, object]:
    bundle = {
        "ven_id": "ven-1",
        "ven_name": issued.record.name,
        "vtn_id": "vtn-1",
        "vtn_url": VTN_URL,
        "certificate": issued.chain_pem,
        "ca": authority.ca_pem,
        "fingerprint": issued.record.fingerprint,
    }
    return bundle | changes


def enrol(authority: Authority, directory: Path, name: str = "home-1", key_type: str = "ec", **kwargs) -> Identity:
    request = new_key_and_request(directory, name, key_type, replace=kwargs.get("replace", False))
    issued = authority.sign_request(request, name, days=kwargs.get("days", 365))
    return store_bundle(directory, bundle_for(authority, issued), replace=kwargs.get("replace", False))
