"""Setting up a VTN's directory: everything private, nothing overwritten, all of it or nothing."""

import stat
import tomllib
from datetime import timedelta

import pytest
from cryptography import x509

from core.errors import ConflictError, EvenloadError, InvalidError, NotFoundError
from evenload.settings import load_settings
from evenload.setup import Shape, add_operator, list_operators, prepare, revoke_operator

SHAPE = Shape("127.0.0.1", 8443, 8444)


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
async def prepared(tmp_path):
    return await prepare(tmp_path / "vtn", ("vtn.example.com", "192.0.2.1"), 'the "VTN"', SHAPE)


async def test_everything_is_private_and_fits_together(prepared):
    directory = prepared.settings.parent
    assert _mode(directory) == _mode(directory / "ca") == 0o700
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {
        "vtn.toml", "vtn.db", "backup.key", "server-ec.pem", "server-ec.key", "server-rsa.pem", "server-rsa.key",
        "ca.pem", "ca-key.pem", "crl.pem", "register.db",
    }  # fmt: skip
    assert {path.name: oct(_mode(path)) for path in files if _mode(path) != 0o600} == {}
    found = load_settings(prepared.settings)
    assert found.vtn_id == 'the "VTN"'
    assert found.openadr.url == "https://vtn.example.com:8443/OpenADR2/Simple/2.0b"
    assert found.api.hosts == ("vtn.example.com", "192.0.2.1", "localhost", "127.0.0.1")
    assert [one.name for one in found.reports] == [
        "HISTORY_USAGE",
        "TELEMETRY_USAGE",
        "TELEMETRY_STATUS",
        "x-FLEXIBILITY_POTENTIAL",
        "x-SELF_ASSESSMENT",
    ]
    certificate = x509.load_pem_x509_certificate((directory / "server-rsa.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["vtn.example.com", "localhost"]


async def test_nothing_is_overwritten(prepared):
    directory = prepared.settings.parent
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    with pytest.raises(ConflictError, match="not empty"):
        await prepare(directory, (), "other", SHAPE)
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


async def test_an_empty_directory_and_an_ipv6_address_will_do(tmp_path):
    (tmp_path / "vtn").mkdir(mode=0o755)
    made = await prepare(tmp_path / "vtn", ("::1",), "evenload", SHAPE)
    assert _mode(tmp_path / "vtn") == 0o700
    assert load_settings(made.settings).openadr.url == "https://[::1]:8443/OpenADR2/Simple/2.0b"


@pytest.mark.parametrize(
    ("names", "vtn_id", "shape"),
    [
        (("bad host",), "evenload", SHAPE),
        (("*.example.com",), "evenload", SHAPE),
        ((), "a\nb", SHAPE),
        ((), "", SHAPE),
        ((), "x" * 81, SHAPE),
        ((), "evenload", Shape("127.0.0.1", 8443, 8444, poll_period="soon")),
    ],
)
async def test_what_cannot_be_leaves_nothing(tmp_path, names, vtn_id, shape):
    with pytest.raises(EvenloadError):
        await prepare(tmp_path / "new", names, vtn_id, shape)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty").mkdir()
    with pytest.raises(EvenloadError):
        await prepare(tmp_path / "empty", names, vtn_id, shape)
    assert list((tmp_path / "empty").iterdir()) == []


async def test_a_file_in_the_way_stays(tmp_path):
    (tmp_path / "vtn").write_text("mine")
    with pytest.raises(ConflictError):
        await prepare(tmp_path / "vtn", (), "evenload", SHAPE)
    assert (tmp_path / "vtn").read_text() == "mine"


async def test_the_clock_of_a_run_is_named(tmp_path):
    made = await prepare(tmp_path / "vtn", (), "evenload", Shape("127.0.0.1", 8443, 8444, clock="/run/clock.json"))
    assert tomllib.loads(made.settings.read_text())["clock"] == "/run/clock.json"


async def test_operators_come_and_go(prepared):
    config = prepared.settings
    token = await add_operator(config, "bob", "dispatcher", timedelta(days=1))
    assert token.startswith("evl_")
    with pytest.raises(ConflictError, match="bob"):
        await add_operator(config, "bob", "viewer", None)
    with pytest.raises(InvalidError, match="boss"):
        await add_operator(config, "eve", "boss", None)
    with pytest.raises(InvalidError, match="printable"):
        await add_operator(config, "  ", "viewer", None)
    await revoke_operator(config, "bob")
    await revoke_operator(config, "bob")
    with pytest.raises(NotFoundError, match="carl"):
        await revoke_operator(config, "carl")
    listed = {one["name"]: one for one in await list_operators(config)}
    assert listed.keys() == {"admin", "bob"}
    assert listed["bob"]["revoked_at"] is not None
    assert await add_operator(config, "bob", "viewer", None) != token


@pytest.mark.parametrize(("names", "host"), [((), "127.0.0.1"), (("vtn.example.com",), "0.0.0.0")])  # noqa: S104  nothing is bound
async def test_without_a_host_only_this_machine_can_reach_it(tmp_path, names, host):
    made = load_settings((await prepare(tmp_path / "vtn", names, "vtn")).settings)
    assert made.console is not None
    assert {made.openadr.host, made.api.host, made.console.host} == {host}
