"""Every text of the VTN's pages goes through gettext: in a language of marks, nothing of ours stands without them."""

import re
from dataclasses import replace
from datetime import timedelta
from zoneinfo import available_timezones

import pytest
from sqlalchemy import insert, update

from metrics.presets import PRESETS
from openadr.model.opt import OptType
from support.messages import logged
from support.metered import metered_ven
from support.texts import ROOT, TAG, data_of, pseudo_catalogue, unmarked, unmarked_in
from support.vtn_world import NOON, fake_fingerprint, usage
from vtn.console import Section, all_pages
from vtn.console.words import WORDS
from vtn.services import fleet, message_log, provisioning, site
from vtn.services.message_log import LogFilter, MessageSender
from vtn.services.outbox import State
from vtn.store.tables import outbox, potential
from vtn.transport.message_log import Exchange

SPEAKS = {"Accept-Language": f"{TAG}, en;q=0.5"}
TEMPLATES = sorted((ROOT / "vtn/console/templates").rglob("*.html"))


@pytest.fixture(scope="session")
def catalogues(tmp_path_factory):
    return pseudo_catalogue(tmp_path_factory.mktemp("catalogues"))


@pytest.fixture
def sections(catalogues):
    return (Section("marks", pages=(), translations=catalogues),)


async def _lived_in(console):
    """Return addresses of things that are there, so that each page has something to show."""
    world = console.world
    ven, _, _ = await metered_ven(world, 1, days=20)
    other = await world.ven("neighbour")
    await world.ven("not registered", register=False)
    await other.offer(usage("meter"))
    programme = await world.programme(ven, other)
    for starts_in in (timedelta(minutes=1), timedelta(hours=3)):
        await world.dispatch(ven, other, under=programme, starts_in=starts_in)
    for event in await ven.events():
        await ven.opt(event, OptType.IN)
    for event in await other.events():
        await other.opt(event, OptType.OUT)
    subject = b"<eventID>e</eventID>"
    spoken = Exchange(fingerprint=ven.peer.fingerprint, request=b"<a/>", answer=b"<b/>")
    lost = replace(spoken, request=subject, type="oadrPoll", sender=MessageSender.VTN, ven_id=ven.ven_id, status=None)
    await logged(world, spoken, lost)
    async with world.db.read() as conn:
        lines = await message_log.listing(conn, LogFilter())
    start_s = int(world.now.timestamp())
    powers = {"p10_w": [500.0] * 48, "p50_w": [1000.0] * 48, "p90_w": [1500.0] * 48}
    shown = {"resource_id": "", "start_s": start_s, "step_s": 1800, **powers}
    rows = [
        shown | {"ven_id": one.ven_id, "direction": direction, "source": source, "issued_at": issued}
        for one, source, issued in ((ven, "ven", world.now), (other, "history", world.now - timedelta(hours=5)))
        for direction in ("reduce", "increase")
    ]
    async with world.tx() as tx:
        await tx.conn.execute(insert(potential), rows)
        group = await fleet.create_group(tx, "Riverside", NOON, who="test")
        await fleet.add_to_group(tx, group.id, [ven.ven_id], NOON, who="test")
        await site.set_site(tx, ven.ven_id, time_zone="UTC", area="North", metering_point="MP 7", now=NOON, who="test")
        await provisioning.note_waiting(tx, fake_fingerprint(200), "commonName=stranger", world.now)
        await provisioning.new_enrolment_code(tx, other.ven_id, NOON, who="test")
        await tx.conn.execute(update(outbox).where(outbox.c.ven_id == other.ven_id).values(state=State.DEAD))
    asked = {"specifier_id": "usage", "r_ids": ["meter"], "report_back": "PT5M", "granularity": "PT1M"}
    await console.dispatcher.post(f"/fleet/{other.ven_id}/reports", **asked)
    test = await console.dispatcher.post(f"/fleet/{other.ven_id}/test")
    await world.directory.flush_seen()
    world.later(minutes=8)
    here, there = f"/fleet/{ven.ven_id}", f"/fleet/{other.ven_id}"
    return [
        "/", "/potential", "/potential?only=stale", "/dispatches", "/dispatches?when=over", "/programmes",
        "/programmes/new", f"/programmes/{programme.id}", f"/programmes/{programme.id}/edit",
        f"/programmes/{programme.id}/versions/1", f"/programmes/{programme.id}/baselines",
        f"/programmes/{programme.id}/days", f"/programmes/{programme.id}/days?year=2027",
        f"/programmes/{programme.id}/baselines?since=17:00&until=18:00", "/fleet", "/fleet?text=nobody", "/groups",
        *(f"{one}{tab}" for one in (here, there) for tab in ("", "/readings", "/reports", "/events", "/messages")),
        test.headers["Location"], "/messages", "/messages?state=done", "/meter-data", "/enrolment", "/audit",
        "/settings", "/account", "/system", *(f"{here}/messages/{line.id}" for line in lines),
    ]  # fmt: skip


async def _known(console):
    strings = await data_of(console.world)
    citations = {rule.citation for rule in PRESETS.values()}
    return strings | citations | set(available_timezones()) | set(PRESETS) | {"vtn", "vtnID", "rID meter"}


async def test_every_page_speaks_the_language_that_is_asked_for(console):
    visited = ["/login", "/link/unknown"]
    places = await _lived_in(console)
    data = await _known(console)
    found = []
    for who in (console.admin, console.viewer):
        for path in places:
            status = (
                403 if (who is console.viewer and path in ADMINS) or (who is console.viewer and "edit" in path) else 200
            )
            page = await who.get(path, status, **SPEAKS)
            assert page.headers["Content-Language"] == TAG
            assert page.headers["Vary"] == "Accept-Language"
            assert page.root.get("lang") == TAG
            found += [f"{path} {one}" for one in unmarked(page.text, data, WORDS)]
            visited.append(path.partition("?")[0])
    for path, status in (("/login", 200), ("/link/unknown", 404), ("/nothing", 404)):
        page = await console.stranger.get(path, status, **SPEAKS)
        found += [f"{path} {one}" for one in unmarked(page.text, data, WORDS)]
    assert sorted(set(found)) == []
    patterns = [re.sub(r"\{[^/]+\}", "[^/]+", one.path) for one in all_pages() if one.method == "GET"]
    missed = [one for one in patterns if not any(re.fullmatch(one, path) for path in visited)]
    assert sorted(missed) == ["/ca.pem", "/fleet/[^/]+/message-record"]  # files


ADMINS = {"/programmes/new", "/meter-data", "/audit", "/settings"}


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/programmes", {"name": "", "parameters__limits__per_day": "often", "parameters__priority": "-1"}),
        ("/fleet/bulk", {"action": "add"}),
        ("/settings/operators", {"name": "x" * 100, "days": "0"}),
        ("/account/password", {"password": "a long enough pass phrase", "again": "another long pass phrase"}),
        ("/enrolment/vens", {"consent_version": "1"}),
    ],
)
async def test_what_is_wrong_with_a_form_is_said_in_the_language(console, path, fields):
    await console.world.ven("home")
    page = await console.admin.send(
        path, 422, [("csrf", console.admin.csrf), *((n.replace("__", "."), v) for n, v in fields.items())], **SPEAKS
    )
    assert "⟦Nothing was changed. Please correct" in page.main
    assert unmarked(page.text, await _known(console), WORDS) == []


async def test_what_was_done_is_said_in_the_language(console):
    sent = [("csrf", console.admin.csrf), ("name", "Hillside")]
    await console.admin.send("/groups", 303, sent, **SPEAKS)
    page = await console.admin.get("/groups")
    assert "⟦Group Hillside created. Add VENs to it on the Fleet page.⟧" in page.main


async def test_english_is_spoken_to_everybody_else(console):
    for asked in ({}, {"Accept-Language": "xx, *;q=0.1"}):
        page = await console.stranger.get("/login", **asked)
        assert page.root.get("lang") == page.headers["Content-Language"] == "en"
        assert page.title == "Sign in"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_template_has_text_outside_of_gettext(template):
    assert unmarked_in(template) == []
