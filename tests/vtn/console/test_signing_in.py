"""Signing in and out: passwords, one-time links, sessions and how they end."""

import asyncio
import threading
from collections import Counter
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from support.vtn_world import NOON
from support.waiting import until
from vtn.console.pages.login import local_path
from vtn.console.request import SignInLimits
from vtn.services import passwords, principals, sessions
from vtn.services.passwords import PasswordCheck
from vtn.store.tables import console_session
from web.attempts import attempting
from web.auth import Role, hash_token
from web.problem import ProblemError

PASSWORD = "a long enough pass phrase"


@pytest.fixture
async def with_password(console):
    async with console.world.tx() as tx:
        await sessions.set_password(tx, "viewer", passwords.hash_password(PASSWORD), NOON, who="test")
    return console


async def _sign_in(console, name, password, status=303, **more):
    return await console.stranger.send("/login", status, {"name": name, "password": password, **more})


def test_who_guesses_at_a_name_does_not_lock_its_owner_out_elsewhere():
    limits = SignInLimits()
    for _ in range(10):
        with attempting(limits.of_stranger("owner", "192.0.2.1")):
            pass  # without success it counts as a failure
    with pytest.raises(ProblemError), attempting(limits.of_stranger("owner", "192.0.2.1")):
        pass
    with attempting(limits.of_stranger("owner", "198.51.100.1")) as attempt:
        attempt.is_good = True


async def test_name_and_password_sign_in_and_go_where_one_wanted(with_password):
    answer = await _sign_in(with_password, "viewer", PASSWORD, next="/fleet?presence=stale")
    assert answer.headers["Location"] == "/fleet?presence=stale"
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/" in cookie
    rows = await with_password.world.rows("console_session")
    token = cookie.split("=", 1)[1].split(";")[0]
    assert hash_token(token) in {row.token_hash for row in rows}
    assert not any(token in str(row) for row in rows)


@pytest.mark.parametrize(
    ("name", "password"),
    [("viewer", "wrong password!"), ("nobody", PASSWORD), ("brp", PASSWORD), ("household", PASSWORD), ("admin", "")],
)
async def test_every_refusal_says_the_same(with_password, name, password):
    page = await _sign_in(with_password, name, password or "x", 422)
    assert "Wrong name or password" in page.main
    assert page.value("name") == name
    assert not page.root.xpath("//input[@name='password']/@value[string()]")


async def test_a_password_of_none_opens_nothing(with_password):
    await _sign_in(with_password, "admin", "None", 422)
    await _sign_in(with_password, "admin", "", 422)


@pytest.fixture
def quick(monkeypatch):
    """Compare passwords without hashing them, and count."""
    tried = []

    def matches(given, _):
        tried.append(given)
        return given == PASSWORD

    monkeypatch.setattr("vtn.services.passwords.password_matches", matches)
    return tried


async def test_too_many_failures_have_to_wait(with_password, quick):
    for _ in range(10):
        await _sign_in(with_password, "viewer", "wrong password!", 422)
    page = await _sign_in(with_password, "viewer", PASSWORD, 429)
    assert "Retry-After" in page.headers
    assert "Wait 61 seconds" in page.main
    for number in range(10):
        await _sign_in(with_password, f"other {number}", "wrong password!", 422)
    await _sign_in(with_password, "somebody", PASSWORD, 429)


async def test_many_wrong_passwords_at_once_are_not_all_tried_and_hold_nobody_up(with_password, monkeypatch):
    tried = []
    release = threading.Event()

    def slow(given, _):
        tried.append(given)
        release.wait(20)
        return False

    monkeypatch.setattr("vtn.services.passwords.password_matches", slow)
    tasks = [asyncio.create_task(_status(with_password, "viewer", f"wrong password {n}")) for n in range(300)]
    await until(lambda: sum(task.done() for task in tasks) >= 290, "a refusal at once")
    release.set()
    statuses = Counter(await asyncio.gather(*tasks))
    assert statuses[422] == len(tried) <= 10
    assert set(statuses) <= {422, 429, 503}


async def _status(console, name, password):
    origin = {"Origin": f"http://127.0.0.1:{console.client.port}"}
    form = {"name": name, "password": password}
    async with console.client.post("/login", data=form, headers=origin, allow_redirects=False) as answer:
        assert ("Retry-After" in answer.headers) == (answer.status in {429, 503})
        return answer.status


async def test_the_queue_for_passwords_is_bounded_and_keeps_places_for_known_callers(monkeypatch):
    release = threading.Event()
    monkeypatch.setattr("vtn.services.passwords.password_matches", lambda *_: release.wait(20))
    check = PasswordCheck()
    first = [asyncio.create_task(check.matches("x", None, f"caller {number // 3}")) for number in range(8)]
    await asyncio.sleep(0)
    for caller in ("caller 0", "another"):
        with pytest.raises(ProblemError) as refused:
            await check.matches("x", None, caller)
        assert refused.value.status == 503
    late = asyncio.create_task(check.matches("x", None, "owner", is_known=True))
    await asyncio.sleep(0)
    release.set()
    assert all(await asyncio.gather(*first, late))


async def test_a_known_browser_signs_in_while_others_guess_at_its_name_and_address(with_password, quick):
    first = await _sign_in(with_password, "viewer", PASSWORD)
    device = _cookie(first, "evenload-device")
    assert device not in str(await with_password.world.rows("console_device"))
    while (await _status(with_password, "viewer", "wrong password!")) != 429:
        pass
    again = await _sign_in_from(with_password, device, "viewer", PASSWORD, 303)
    assert _cookie(again, "evenload-device") != device
    await _sign_in_from(with_password, device, "viewer", PASSWORD, 429)  # each cookie is good for the next time only
    new = _cookie(again, "evenload-device")
    async with with_password.world.db.read() as conn:
        assert not await sessions.is_known_device(conn, new, "admin", with_password.machine.now)
    for _ in range(10):
        await _sign_in_from(with_password, new, "viewer", "wrong password!", 422)
    await _sign_in_from(with_password, new, "viewer", PASSWORD, 429)


async def test_a_known_browser_is_forgotten_after_half_a_year(with_password, quick):
    device = _cookie(await _sign_in(with_password, "viewer", PASSWORD), "evenload-device")
    while (await _status(with_password, "viewer", "wrong password!")) != 429:
        pass
    with_password.machine.later(days=180)
    await _sign_in_from(with_password, device, "viewer", PASSWORD, 429)


async def test_browsers_that_are_known_are_bounded_in_number(with_password, quick):
    for _ in range(25):
        with_password.machine.later(seconds=1)
        await _sign_in(with_password, "viewer", PASSWORD)
    assert len(await with_password.world.rows("console_device")) == 20


async def _sign_in_from(console, device, name, password, status):
    cookie = {"Cookie": f"evenload-device={device}"}
    return await console.stranger.send("/login", status, {"name": name, "password": password}, **cookie)


def _cookie(page, name):
    (found,) = [one for one in page.headers.getall("Set-Cookie") if one.startswith(f"{name}=")]
    return found.split("=", 1)[1].split(";")[0]


async def test_a_sign_in_from_elsewhere_is_refused(with_password):
    fields = {"name": "viewer", "password": PASSWORD}
    await with_password.stranger.send("/login", 403, fields, Origin="https://evil.example")


async def test_each_sign_in_has_a_session_of_its_own_and_ends_the_one_before(with_password):
    old = with_password.viewer
    answer = await old.send("/login", 303, {"name": "viewer", "password": PASSWORD})
    assert f"={old.token};" not in answer.headers["Set-Cookie"]
    await old.get("/fleet", 303)


@pytest.mark.parametrize(
    ("given", "goes"),
    [
        ("/fleet?a=b", "/fleet?a=b"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nSet-Cookie: x=y", "/"),
        ("/logout", "/"),
        ("", "/"),
    ],
)
def test_one_comes_back_to_pages_of_ours_only(given, goes):
    assert local_path(given) == goes


# -- links


async def _link(console, name="viewer"):
    async with console.world.tx() as tx:
        return await sessions.new_link(tx, name, console.machine.now, NOON, who="test")


async def test_a_link_asks_first_works_once_and_is_kept_as_a_hash(console):
    token = await _link(console)
    assert token not in str(await console.world.rows("login_link"))
    for _ in range(3):  # previews do not use it up
        page = await console.stranger.get(f"/link/{token}")
    assert "signs you in as viewer" in page.main
    answer = await console.stranger.send(f"/link/{token}", 303, {})
    assert answer.headers["Location"] == "/"
    await console.stranger.send(f"/link/{token}", 403, {})
    page = await console.stranger.get(f"/link/{token}", 404)
    assert "unknown, has been used, or is older" in page.main


async def test_two_browsers_cannot_use_one_link(console):
    token = await _link(console)
    origin = {"Origin": f"http://127.0.0.1:{console.client.port}"}

    async def use():
        async with console.client.post(
            f"/link/{token}", headers=origin, data={"a": ""}, allow_redirects=False
        ) as answer:
            return answer.status

    assert sorted(await asyncio.gather(use(), use(), use())) == [303, 403, 403]


async def test_a_link_ends_after_ten_minutes_and_with_its_operator(console):
    token = await _link(console)
    console.machine.later(minutes=9, seconds=59)
    await console.stranger.get(f"/link/{token}")
    console.machine.later(seconds=1)
    await console.stranger.get(f"/link/{token}", 404)
    token = await _link(console)
    async with console.world.tx() as tx:
        await principals.revoke(tx, "viewer", NOON, who="test")
    await console.stranger.send(f"/link/{token}", 403, {})


async def test_guessing_links_has_to_wait_but_a_good_one_passes(console):
    for number in range(20):
        await console.stranger.get(f"/link/guess{number}", 404)
    await console.stranger.get("/link/guess", 429)
    await console.stranger.send("/link/guess", 429, {})
    token = await _link(console)
    await console.stranger.get(f"/link/{token}")
    await console.stranger.send(f"/link/{token}", 303, {})


# -- how sessions end


async def test_a_session_ends_when_nobody_uses_it(console):
    for _ in range(3):
        console.machine.later(hours=1, minutes=59)
        await console.viewer.get("/fleet")
    console.machine.later(hours=2)
    await console.viewer.get("/fleet", 303)


async def test_a_page_that_keeps_itself_fresh_does_not_keep_the_session(console):
    console.machine.later(hours=1, minutes=30)
    await console.viewer.get("/fleet", 200, **{"X-Evenload-Refresh": "1"})
    console.machine.later(minutes=30)
    await console.viewer.get("/fleet", 401, **{"X-Evenload-Refresh": "1"})


async def test_a_session_ends_after_twelve_hours_in_any_case(console):
    for _ in range(7):
        console.machine.later(hours=1, minutes=42)
        await console.viewer.get("/fleet")
    console.machine.later(minutes=10)
    await console.viewer.get("/fleet", 303)


async def test_signing_out_ends_the_session(console):
    answer = await console.viewer.post("/logout")
    assert answer.headers["Location"] == "/login"
    await console.viewer.get("/fleet", 303)
    page = await console.viewer.follow(answer)
    assert "signed out" in page.main


async def test_a_form_after_the_session_says_what_to_do(console):
    console.machine.later(hours=3)
    page = await console.admin.post("/groups", 401, name="g")
    assert "Sign in" in page.main


async def test_revoking_ends_sessions_at_once_and_nobody_inherits_them(console):
    old = console.viewer
    async with console.world.tx() as tx:
        await sessions.set_password(tx, "viewer", passwords.hash_password(PASSWORD), NOON, who="test")
        await principals.revoke(tx, "viewer", datetime.now(UTC), who="test")
    await old.get("/fleet", 303)
    async with console.world.tx() as tx:
        await principals.create(tx, "viewer", Role.ADMIN, datetime.now(UTC), who="test")
        left = await tx.conn.execute(
            select(console_session).where(console_session.c.token_hash == hash_token(old.token))
        )
        assert left.first() is None
    await old.get("/fleet", 303)
    await _sign_in(console, "viewer", PASSWORD, 422)


async def test_sessions_that_are_over_are_cleared_away(console):
    console.machine.later(hours=13)
    await console.browser("viewer")
    assert len(await console.world.rows("console_session")) == 1
