"""The console of a real VTN: its listener, signing in from the command line, certificates, how it stops."""

import asyncio
import io
import json
import ssl

import aiohttp
import pytest
from aiohttp import CookieJar

from core.errors import InvalidError
from evenload.demo.processes import free_port
from evenload.server import running
from evenload.settings import load_settings
from evenload.setup import Shape, console_url, login_link, prepare, set_password

PASSWORD = "a long enough pass phrase"
PEM = "certificates = [{cert = 'a', key = 'b'}]\nca = 'c'\n"


async def _prepared(tmp_path, **shape):
    made = await prepare(tmp_path / "vtn", ("127.0.0.1",), "evenload", Shape("127.0.0.1", 0, 0, **shape))
    return made.settings


async def _with_tls(tmp_path):
    config = await _prepared(tmp_path, console_port=free_port())
    text = config.read_text()
    where = text.index("[console]")
    keys = 'certificate = {cert = "server-ec.pem", key = "server-ec.key"}\n'
    config.write_text(text[:where] + text[where:].replace("hosts =", keys + "hosts =", 1))
    return config


async def _follow_link(config, url, tls=None):
    """Sign in by a link as a browser does, and return the overview and the cookies."""
    link = await login_link(config, "admin", url)
    assert link.startswith(url)
    context = ssl.create_default_context(cafile=tls) if tls else None
    async with aiohttp.ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
        async with session.get(link, ssl=context or True) as page:
            assert "signs you in as" in await page.text()
        async with session.post(link, data={"a": ""}, headers={"Origin": url}, ssl=context or True) as page:
            return page.status, await page.text(), {one.key: one for one in session.cookie_jar}


async def test_a_link_from_the_command_line_signs_in(tmp_path):
    config = await _prepared(tmp_path, console_port=0)
    async with running(load_settings(config)) as vtn:
        assert vtn.console_url.startswith("http://127.0.0.1:")
        status, text, cookies = await _follow_link(config, vtn.console_url)
    assert status == 200
    assert "<h1>Overview</h1>" in text
    assert not cookies["evenload-session"]["secure"]


async def test_with_tls_the_cookie_is_bound_to_this_host(tmp_path):
    config = await _with_tls(tmp_path)
    settings = load_settings(config)
    async with running(settings) as vtn:
        assert vtn.console_url == console_url(settings)
        status, _, cookies = await _follow_link(config, vtn.console_url, config.parent / "ca" / "ca.pem")
    assert status == 200
    assert cookies["__Host-evenload-session"]["secure"]
    assert cookies["__Host-evenload-session"]["httponly"]


async def test_without_its_section_there_is_no_console(tmp_path):
    config = await _prepared(tmp_path)
    async with running(load_settings(config)) as vtn:
        assert vtn.console_url is None
    with pytest.raises(InvalidError, match="no section"):
        await login_link(config, "admin")


async def test_the_settings_page_says_what_the_server_runs_with(tmp_path):
    config = await _prepared(tmp_path, console_port=0)
    async with running(load_settings(config)) as vtn:
        link = await login_link(config, "admin", vtn.console_url)
        async with aiohttp.ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
            async with session.post(link, data={"a": ""}, headers={"Origin": vtn.console_url}) as page:
                assert page.status == 200
            async with session.get(f"{vtn.console_url}/settings") as page:
                text = await page.text()
    assert "SQLite" in text
    assert vtn.openadr_url in text


async def test_a_public_address_comes_from_the_settings(tmp_path):
    config = await _prepared(tmp_path, console_port=0)
    config.write_text(config.read_text().replace("[console]", '[console]\nurl = "https://vtn.example.com/"', 1))
    settings = load_settings(config)
    assert settings.console.is_secure
    assert console_url(settings) == "https://vtn.example.com"
    async with running(settings) as vtn:
        assert vtn.console_url == "https://vtn.example.com"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("host = '0.0.0.0'", "console.certificate is needed"),
        ("time_zone = 'Mars'", "IANA time zone"),
        ("url = 'https://a/b'", "console.url"),
        ("nothing = 1", "no such setting"),
    ],
)
def test_bad_settings_are_refused(tmp_path, text, words):
    path = tmp_path / "vtn.toml"
    path.write_text(f"[openadr]\n{PEM}[console]\n{text}\n")
    with pytest.raises(InvalidError, match=words):
        load_settings(path)


def test_operators_get_links_and_passwords_by_command(terminal, tmp_path, monkeypatch):
    config = asyncio.run(_prepared(tmp_path, console_port=8445))
    where = ("--config", config)
    link = terminal.good("operator", "login-link", "admin", *where).strip()
    assert link.startswith("http://127.0.0.1:8445/link/")
    told = json.loads(terminal.good("operator", "login-link", "admin", "--url", "https://x.example/", "--json", *where))
    assert told["link"].startswith("https://x.example/link/")
    assert "No principal" in terminal.bad("operator", "login-link", "nobody", *where)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    assert "new password" in terminal.good("operator", "password", "admin", *where)
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert "12 to 200" in terminal.bad("operator", "password", "admin", *where)
    assert "no password" in terminal.good("operator", "password", "admin", "--none", *where)


async def test_a_password_set_beside_a_running_vtn_ends_its_sessions(tmp_path):
    config = await _prepared(tmp_path, console_port=0)
    async with running(load_settings(config)) as vtn:
        link = await login_link(config, "admin", vtn.console_url)
        async with aiohttp.ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
            async with session.post(link, data={"a": ""}, headers={"Origin": vtn.console_url}) as page:
                assert page.status == 200
            await set_password(config, "admin", PASSWORD)
            async with session.get(f"{vtn.console_url}/fleet", allow_redirects=False) as page:
                assert page.status == 303
            fields = {"name": "admin", "password": PASSWORD, "next": "/fleet"}
            origin = {"Origin": vtn.console_url}
            async with session.post(f"{vtn.console_url}/login", data=fields, headers=origin) as page:
                assert "<h1>Fleet</h1>" in await page.text()
