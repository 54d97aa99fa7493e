"""Certificates of every kind that a server meets: good, foreign and expired ones."""

import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from certs.authority import Authority
from certs.tls import server_context
from core.clock import machine_now


def _last_month() -> datetime:
    return machine_now() - timedelta(days=30)


@dataclass(frozen=True)
class Pki:
    """An authority with a server certificate, and another authority that nobody trusts."""

    directory: Path
    authority: Authority
    foreign: Authority

    def server(self) -> ssl.SSLContext:
        """Return the context of a server that wants client certificates of the authority."""
        home = self.directory
        return server_context(home / "server.pem", home / "server.key", self.authority.directory / "ca.pem")

    def issue(self, name: str, *, kind: str = "good") -> str:
        """Issue a client certificate ("good", "foreign" or "expired") and return its PEM; `client` then uses it."""
        authority = self.foreign if kind == "foreign" else self.authority
        if kind == "expired":
            authority = Authority.load(authority.directory, now=_last_month)
        issued = authority.issue_client(name, days=1)
        (self.directory / f"{name}.pem").write_text(issued.chain_pem)
        (self.directory / f"{name}.key").write_text(issued.key_pem or "")
        return issued.chain_pem

    def client(self, name: str | None) -> ssl.SSLContext:
        """Return the context of a client with an issued certificate, or with none."""
        context = ssl.create_default_context(cafile=self.authority.directory / "ca.pem")
        if name is not None:
            context.load_cert_chain(self.directory / f"{name}.pem", self.directory / f"{name}.key")
        return context


def make_pki(directory: Path) -> Pki:
    """Make both authorities and a server certificate for 127.0.0.1."""
    Authority.create(directory / "ca", "Test CA", now=_last_month)  # old enough to have issued what has expired
    authority = Authority.load(directory / "ca")
    foreign = Authority.create(directory / "foreign", "Foreign CA")
    server = authority.issue_server(["127.0.0.1"], calls_clients=True)
    (directory / "server.pem").write_text(server.chain_pem)
    (directory / "server.key").write_text(server.key_pem or "")
    return Pki(directory, authority, foreign)
