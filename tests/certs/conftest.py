"""Authorities and server certificates for the tests; makes `cert_support` importable."""

import sys
from pathlib import Path

import pytest

from certs.authority import Authority

_FOLDER = str(Path(__file__).parent / "support")
if _FOLDER not in sys.path:
    sys.path.insert(0, _FOLDER)


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("ca") / "ca", "Test CA")


@pytest.fixture(scope="session")
def rsa_authority(tmp_path_factory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("ca") / "ca", "Test RSA CA", key_type="rsa")


@pytest.fixture(scope="session")
def servers(authority, tmp_path_factory) -> dict:
    """One server certificate per key type, for localhost and 127.0.0.1."""
    from cert_support import save  # noqa: PLC0415  importable only from here on

    where = tmp_path_factory.mktemp("servers")
    return {
        kind: save(where / kind, authority.issue_server(["localhost", "127.0.0.1"], key_type=kind))
        for kind in ("ec", "rsa")
    }
