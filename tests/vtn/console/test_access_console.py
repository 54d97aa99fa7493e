"""Who may open what: every page as every principal, forms without their secret, from elsewhere, to a foreign Host."""

import io
import re

import pytest

from vtn.console import all_pages
from web.auth import Role

PAGES = all_pages()
LADDER = ("viewer", "dispatcher", "admin")


def _filled(path):
    """Return an address of a page, with ids that nothing has."""
    numbers = re.sub(r"\{\w+:\[0-9\][^/]*\}", "7", path)
    handles = re.sub(r"\{\w+:\[0-9a-f\][^/]*\}", "0" * 16, numbers)
    return re.sub(r"\{\w+\}", "nobody", handles)


async def test_every_page_as_every_principal(console):
    before = await console.world.dump(without=("console_session",))
    for one in PAGES:
        if one.path == "/logout":
            continue  # it would end the walk
        path, data = _filled(one.path), {}
        for who in LADDER:
            browser = console.browsers[who]
            if one.method == "POST":
                data = {"csrf": browser.csrf}
            answer = await _status(console, one.method, path, browser.cookies() | _origin(console), data)
            enough = one.role is None or Role(who).includes(one.role)
            unknown_link = one.method == "POST" and one.path.startswith("/link/")
            assert (answer == 403) == (unknown_link or not enough), (one, who, answer)
            assert answer < 500, (one, who, answer)
        stranger = await _status(console, one.method, path, _origin(console), data)
        if one.role is not None:
            assert stranger == (303 if one.method == "GET" else 401), (one, stranger)
    assert await console.world.dump(without=("console_session",)) == before


async def _status(console, method, path, headers, data=None):
    async with console.client.request(method, path, headers=headers, data=data or {}, allow_redirects=False) as answer:
        return answer.status


def _origin(console):
    return {"Origin": f"http://127.0.0.1:{console.client.port}"}


def test_changes_need_more_than_a_viewer():
    """What a viewer may send changes only their own account."""
    allowed = {one.path for one in PAGES if one.method == "POST" and one.role is Role.VIEWER}
    assert allowed == {"/account/password", "/account/sessions/{handle:[0-9a-f]{16}}/end"}


async def test_a_page_asks_a_stranger_to_sign_in_and_brings_them_back(console):
    answer = await console.stranger.get("/fleet?presence=stale", 303)
    assert answer.headers["Location"] == "/login?next=%2Ffleet%3Fpresence%3Dstale"
    page = await console.stranger.get(answer.headers["Location"])
    assert page.value("next") == "/fleet?presence=stale"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "", "Referer": "https://evil.example/x"},
        {"Origin": ""},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_forms_from_elsewhere_are_refused(console, headers):
    page = await console.admin.send("/groups", 403, {"csrf": console.admin.csrf, "name": "g"}, **headers)
    assert "did not come from one of our pages" in page.main
    assert await console.world.rows("ven_group") == []


@pytest.mark.parametrize("secret", ["", "x" * 43])
async def test_forms_without_their_sessions_secret_are_refused(console, secret):
    page = await console.admin.send("/groups", 403, {"csrf": secret, "name": "g"})
    assert "earlier session" in page.main
    page = await console.admin.send("/groups", 403, {"csrf": console.viewer.csrf, "name": "g"})
    assert await console.world.rows("ven_group") == []


async def test_a_foreign_host_is_refused(console):
    page = await console.admin.get("/", 421, Host="evil.example")
    assert "configured names" in page.main


async def test_what_may_not_be_done_is_not_shown(console):
    ven = await console.world.ven("home")
    admin, viewer = await console.admin.get("/fleet"), await console.viewer.get("/fleet")
    assert admin.root.xpath("//form[@id='bulk']")
    assert not viewer.root.xpath("//form[@id='bulk']")
    assert "Audit" in admin.texts("//nav")[0]
    assert "Audit" not in viewer.texts("//nav")[0]
    page = await console.viewer.get(f"/fleet/{ven.ven_id}")
    actions = {form.get("action") for form in page.root.xpath("//form[@method='post']")}
    assert actions == {"/logout"}


async def test_every_answer_carries_the_policy(console):
    for browser, path, status in (
        (console.admin, "/", 200),
        (console.stranger, "/login", 200),
        (console.admin, "/x", 404),
    ):
        page = await browser.get(path, status)
        policy = page.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["Referrer-Policy"] == "same-origin"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert "Server" not in page.headers


@pytest.mark.parametrize(
    ("path", "status", "words"), [("/nothing", 404, "This page doesn't exist"), ("/fleet/nobody", 404, "No VEN")]
)
async def test_what_is_not_there_says_so_inside_the_frame(console, path, status, words):
    page = await console.viewer.get(path, status)
    assert words in page.main
    assert page.texts("//nav")


async def test_a_broken_page_tells_nothing_of_itself(console, monkeypatch):
    async def broken(*_args, **_more):
        raise RuntimeError("secret detail")

    monkeypatch.setattr("vtn.services.fleet.groups", broken)
    page = await console.viewer.get("/groups", 500)
    assert "secret detail" not in page.text
    assert page.headers["X-Request-Id"] in page.main


async def test_floods_of_fields_and_bytes_are_refused(console):
    many = [("csrf", console.admin.csrf), *(("a", "b") for _ in range(6000))]
    await console.admin.send("/groups", 400, many)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    await console.admin.send("/groups", 413, io.BytesIO(b"name=" + b"x" * (2 << 20)), **form)
    await console.admin.send("/groups", 415, b"{}", **{"Content-Type": "application/json"})
    await console.admin.send("/groups", 400, b"name=%ff", **form)
    await console.admin.send("/groups", 400, b"name=%00", **form)
