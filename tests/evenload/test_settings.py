"""Settings: what a file and EVENLOAD_* variables may say, and what is refused with a clear word."""

import inspect
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.clock import WorldClock
from core.errors import InvalidError
from core.spans import ZERO, Duration
from evenload.cli import vtn_init
from evenload.server import clock_of
from evenload.settings import VTN_ID, Settings, load_settings
from support.vtn_world import NOON
from vtn.services.settings import LogBounds

LOOPBACK = "[openadr]\ninsecure = true\n"
PEM = 'certificates = [{cert = "a.pem", key = "a.key"}]\nca = "ca.pem"\n'


@pytest.fixture
def write(tmp_path):
    def written(text):
        path = tmp_path / "vtn.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return written


@pytest.fixture
def refused(write):
    def check(text, *words):
        with pytest.raises(InvalidError) as caught:
            load_settings(write(text))
        assert all(word in str(caught.value) for word in words), caught.value

    return check


def test_the_default_vtn_id_is_one_that_every_peer_takes():
    assert Settings().vtn_id == VTN_ID == inspect.signature(vtn_init).parameters["vtn_id"].default
    assert not VTN_ID.islower(), "openleadr's VEN answers 452 to a vtnID in lower case"


def test_the_defaults_are_for_one_machine(write):
    found = load_settings(write(LOOPBACK))
    assert (found.openadr.host, found.api.host) == ("127.0.0.1", "127.0.0.1")
    assert found.vtn().poll_period == Duration.of(seconds=10)
    assert found.vtn().wanted_reports == ()
    assert found.vtn().own_reports_after is None, "none are offered"
    assert not found.reuse_port
    assert found.openadr.tls == "compatible"


def test_paths_are_relative_to_the_file(write, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    text = f'database = "sqlite:///data/x.db"\nauthority = "ca"\nclock = "/c.json"\n[openadr]\n{PEM}crl = "l.pem"\n'
    found = load_settings(write(text + '[api]\ncertificate = {cert = "b.pem", key = "../b.key"}'))
    here = tmp_path.resolve()
    assert found.database == f"sqlite:///{here}/data/x.db"
    assert found.authority == here / "ca"
    assert found.clock == Path("/c.json")
    assert (found.openadr.ca, found.openadr.crl) == (here / "ca.pem", here / "l.pem")
    assert found.openadr.certificates[0].key == here / "a.key"
    assert found.api.certificate is not None
    assert found.api.certificate.key == here / ".." / "b.key"
    absolute = load_settings(write('database = "sqlite:////srv/x.db"\n' + LOOPBACK))
    assert absolute.database == "sqlite:////srv/x.db"


def test_a_postgresql_address_is_no_path(write):
    url = "postgresql://u:p@h/d?sslmode=require"
    assert load_settings(write(f'database = "{url}"\nreuse_port = true\n{LOOPBACK}')).database == url


def test_variables_overrule_the_file(write, monkeypatch):
    path = write('vtn_id = "file"\n[openadr]\ninsecure = true\nport = 1\n[[reports]]\nname = "TELEMETRY_USAGE"\n')
    for name, value in {
        "EVENLOAD_VTN_ID": "variable",
        "EVENLOAD_OPENADR__PORT": "2",
        "EVENLOAD_API__HOSTS": '["a.example"]',
        "EVENLOAD_REPORTS": "[]",
    }.items():
        monkeypatch.setenv(name, value)
    found = load_settings(path)
    assert (found.vtn_id, found.openadr.port, found.openadr.insecure) == ("variable", 2, True)
    assert found.api.hosts == ("a.example",)
    assert found.reports == ()


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("EVENLOAD_OPENADR__PORT", "many", "EVENLOAD_OPENADR__PORT: "),
        ("EVENLOAD_OPENADR", "{", "EVENLOAD_"),
        ("EVENLOAD_OPENADR__PRT", "1", "EVENLOAD_OPENADR__PRT: no such setting"),
        ("EVENLOAD_REPORTS", '[{"name": ""}]', "EVENLOAD_REPORTS"),
        ("EVENLOAD_OPENADR__HOST", "192.0.2.1", "loopback"),
    ],
)
def test_a_bad_variable_is_named(refused, monkeypatch, name, value, word):
    monkeypatch.setenv(name, value)
    refused(LOOPBACK, word)


def test_reports_are_asked_as_they_say(write):
    text = LOOPBACK + '[[reports]]\nname = "HISTORY_USAGE"\nhistory = "P20D"\n'
    (wanted,) = load_settings(write(text)).vtn().wanted_reports
    assert (wanted.name, wanted.history, wanted.report_back) == ("HISTORY_USAGE", Duration.of(days=20), Duration())


def test_reports_are_offered_as_they_say(write):
    text = LOOPBACK + "[openadr.own_reports]\noffer = true\n"
    assert load_settings(write(text)).vtn().own_reports_after == Duration.of(minutes=15)
    assert load_settings(write(text + 'settle = "PT0S"\n')).vtn().own_reports_after == Duration()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("vtn_id = ", "not TOML"),
        ("\ufeffvtn_id = 'x'", "not TOML"),
        ("a" * 5 + "=1\n" + "a" * 5 + "=1", "not TOML"),
        ("x = " + "[" * 5000, "not TOML"),
        ("surprise = 1", "surprise: no such setting"),
        ("[openadr]\nsurprise = 1", "openadr.surprise: no such setting"),
        ("openadr = 1", "openadr"),
        ("[openadr]\nport = 65536", "openadr.port"),
        ("[openadr]\nport = '8443'", "needs certificates"),
        ("[openadr]\ntls = 'old'", "openadr.tls"),
        ("[openadr]\nprefix = 'vtn'", "openadr.prefix"),
        ("[openadr]\nprefix = '/a/../b c'", "openadr.prefix"),
        ("[openadr]\npoll_period = 'PT0S'", "openadr.poll_period"),
        ("[openadr]\npoll_period = '10'", "openadr.poll_period"),
        ("[openadr]\npoll_period = 10", "openadr.poll_period"),
        ("[openadr]\npoll_period = 'P2D'", "openadr.poll_period"),
        ("[openadr]\npoll_period = 'P1M'", "openadr.poll_period"),
        ("[openadr]\nmax_tries = 0", "openadr.max_tries"),
        ("[openadr]\nmax_body_bytes = 1", "openadr.max_body_bytes"),
        ("[[reports]]\ngranularity = 'PT1M'", "reports.0.name: is missing"),
        ("[[reports]]\nname = 'X'\nhistory = '-P1D'", "reports.0.history"),
        ("vtn_id = ''", "vtn_id"),
        ('vtn_id = "a\\tb"', "vtn_id"),
        ("[openadr]", "needs certificates and ca"),
        ("[openadr]\nca = 'ca.pem'", "needs certificates and ca"),
        ("[openadr]\ninsecure = true\nhost = '0.0.0.0'", "loopback"),
        ("[openadr]\ninsecure = true\nhost = ''", "loopback"),
        ("[openadr]\ninsecure = true\nhost = '192.0.2.1'", "loopback"),
        ("[openadr]\ninsecure = true\nhost = 'vtn.example'", "loopback"),
        ("[openadr]\nproxy_header = 'X-Fingerprint'", "proxy_secret"),
        ("[openadr]\nproxy_secret = '0123456789abcdef'", "proxy_header"),
        ("[openadr]\nproxy_header = 'X-F'\nproxy_secret = 'short'", "openadr.proxy_secret"),
        ("[openadr]\nproxy_header = 'X F'\nproxy_secret = '0123456789abcdef'", "openadr.proxy_header"),
        ("[openadr]\nproxy_header = 'X-F'\nproxy_secret = '0123456789abcdef'", "openadr.url is needed"),
        ("[openadr]\nproxy_header = 'X-F'\nproxy_secret = '0123456789abcdef'\nhost = '::'", "loopback"),
        ("[openadr]\ninsecure = true\nproxy_header = 'X-F'\nproxy_secret = '0123456789abcdef'", "exclude each other"),
        (f"[openadr]\nhost = '0.0.0.0'\n{PEM}", "openadr.url is needed"),
        (f"[openadr]\nurl = 'http://vtn.example/'\n{PEM}", "openadr.url is no address"),
        (f"[openadr]\nurl = 'https://'\n{PEM}", "openadr.url is no address"),
        (f"[openadr]\nurl = 'https://v/ x'\n{PEM}", "openadr.url is no address"),
        (LOOPBACK + "[api]\nhost = '0.0.0.0'", "api.certificate is needed"),
        (LOOPBACK + "[api]\ncertificate = {cert = 'x'}", "api.certificate.key: is missing"),
        ("reuse_port = true\n" + LOOPBACK, "not for SQLite"),
    ],
)
def test_a_bad_file_is_refused_with_the_place(refused, text, word):
    refused(text, "vtn.toml", word)


def test_every_fault_is_named_at_once(refused):
    refused("a = 1\nb = 2\n[openadr]\nport = 'x'\n", "a: ", "b: ", "openadr.port: ")


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(InvalidError, match="evenload vtn init"):
        load_settings(tmp_path / "vtn.toml")
    with pytest.raises(InvalidError, match="cannot be read"):
        load_settings(tmp_path)
    (tmp_path / "vtn.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidError, match="not TOML"):
        load_settings(tmp_path / "vtn.toml")


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(string.printable, max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(string.ascii_lowercase), inner, max_size=3),
    max_leaves=5,
)
_names = st.sampled_from(["vtn_id", "database", "authority", "clock", "reuse_port", "openadr", "api", "reports"])


def _toml(value):
    match value:
        case None:
            return "nan"
        case bool():
            return str(value).lower()
        case list():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case dict():
            return "{" + ", ".join(f'"{key}" = {_toml(one)}' for key, one in value.items()) + "}"
        case str():
            return "'" + "".join(char for char in value if char.isprintable() and char != "'") + "'"
        case _:
            return str(value)


@settings(max_examples=60, database=None, suppress_health_check=list(HealthCheck))
@given(raw=st.dictionaries(_names, _values, max_size=4))
def test_whatever_stands_there_it_loads_or_is_refused(write, raw):
    path = write(
        "\n".join(f"{name} = {_toml(value)}" for name, value in ({"openadr": {"insecure": True}} | raw).items())
    )
    try:
        found = load_settings(path)
    except InvalidError as error:
        assert "vtn.toml" in str(error)  # noqa: PT017  either outcome is right
    else:
        assert found.openadr.insecure


@pytest.mark.parametrize(
    ("where", "fits"),
    [("127.0.0.1", True), ("127.0.0.2", True), ("localhost", True), ("::1", True), ("192.0.2.1", False)],
)
def test_a_fast_clock_stays_on_this_machine(write, tmp_path, where, fits):
    WorldClock(NOON, NOON, 60.0).save(tmp_path / "clock.json")
    found = load_settings(write(f"clock = 'clock.json'\n[openadr]\nhost = '{where}'\n{PEM}"))
    if fits:
        assert clock_of(found).speed == 60.0
    else:
        with pytest.raises(InvalidError, match="loopback"):
            clock_of(found)


def test_a_missing_clock_is_named(write):
    with pytest.raises(InvalidError, match=r"clock\.json"):
        clock_of(load_settings(write(f"clock = 'clock.json'\n{LOOPBACK}")))


def test_the_message_log_is_bounded_or_off(write):
    bounds = load_settings(write(LOOPBACK)).openadr.log.bounds()
    assert bounds == LogBounds()
    chosen = load_settings(
        write(f"{LOOPBACK}\n[openadr.log]\nkeep = 'PT0S'\nmessages_per_ven = 9\nbytes_per_ven = 100000")
    )
    assert (chosen.openadr.log.bounds().keep, chosen.openadr.log.bounds().lines_each) == (ZERO, 9)
    assert chosen.openadr.log.bounds().size_each == 100_000
    for wrong in ("keep = 'P1M'", "messages = 0", "bytes = 5", "days = 3"):
        with pytest.raises(InvalidError, match=r"openadr\.log"):
            load_settings(write(f"{LOOPBACK}\n[openadr.log]\n{wrong}"))
