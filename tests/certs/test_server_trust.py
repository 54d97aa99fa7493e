"""Which certificates could be a server's: of the authority, for servers, of that name, valid now."""

from datetime import UTC, datetime, timedelta

import pytest

from certs.authority import Authority
from certs.server_trust import ServerTrust
from core.errors import InvalidError
from openadr.fingerprint import der_of_pem


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority.create(tmp_path_factory.mktemp("server-trust") / "ca", "CA")


@pytest.fixture(scope="module")
def server(authority):
    return der(authority.issue_server(["vtn.example", "*.grid.example", "127.0.0.1", "::1"], days=30))


def der(issued):
    return der_of_pem(issued.chain_pem.encode())


def trust(authority, host, after=timedelta()):
    return ServerTrust(authority.ca_pem.encode(), host, lambda: datetime.now(UTC) + after)


@pytest.mark.parametrize(
    "host", ["vtn.example", "VTN.Example.", "a.grid.example", "127.0.0.1", "::1", "[::1]", None], ids=str
)
def test_the_servers_of_that_name(authority, server, host):
    assert trust(authority, host).accepts(server)


@pytest.mark.parametrize(
    "host", ["other.example", "grid.example", "a.b.grid.example", "example", "", "127.0.0.2", "*.grid.example.com"]
)
def test_other_names(authority, server, host):
    assert not trust(authority, host).accepts(server)


def test_only_while_it_is_valid(authority, server):
    assert not trust(authority, None, timedelta(days=31)).accepts(server)
    assert not trust(authority, None, timedelta(days=-31)).accepts(server)


def test_what_is_no_server_of_the_authority(authority, server, tmp_path):
    foreign = Authority.create(tmp_path / "foreign", "CA")
    assert not trust(foreign, "vtn.example").accepts(server)
    mine = trust(authority, None)
    assert not mine.accepts(der(authority.issue_client("home"))), "a VEN could speak for its VTN"
    assert not mine.accepts(der_of_pem(authority.ca_pem.encode()))
    for nonsense in (b"", b"\x30\x00", server[:-1], bytes(20_000)):
        assert not mine.accepts(nonsense)


def test_answers_are_kept_but_not_for_ever(authority, server):
    mine = trust(authority, None)
    for number in range(200):
        assert not mine.accepts(number.to_bytes(2))
    assert mine.accepts(server)
    assert len(mine._answers) <= 64


def test_an_authority_that_is_none():
    with pytest.raises(InvalidError):
        ServerTrust(b"nothing", None)
