"""The log of messages over REST."""

from dataclasses import replace

from support.messages import logged
from vtn.services.message_log import MessageSender
from vtn.transport.message_log import Exchange

SPOKEN = Exchange(type="oadrPoll", request=b"<eventID>e1</eventID>", answer=b"<a/>")


async def types(office, **query):
    text = "&".join(f"{name}={value}" for name, value in query.items())
    return [each["type"] for each in (await office.get(f"/v1/messages?{text}"))["items"]]


async def test_messages_are_listed_newest_first_and_filtered(office):
    ven, other = await office.world.ven(), await office.world.ven()
    spoken = replace(SPOKEN, fingerprint=ven.peer.fingerprint)
    await logged(
        office.world,
        spoken,
        replace(spoken, type="oadrCreateOpt", request=b"<a/>", status=503),
        replace(SPOKEN, type="oadrCreatedEvent", sender=MessageSender.VTN, ven_id=other.ven_id),
    )
    assert await types(office) == ["oadrCreatedEvent", "oadrCreateOpt", "oadrPoll"]
    assert await types(office, ven_id=ven.ven_id) == ["oadrCreateOpt", "oadrPoll"]
    assert await types(office, event_id="e1") == ["oadrCreatedEvent", "oadrPoll"]
    assert await types(office, event_id="e1", ven_id=ven.ven_id) == ["oadrPoll"]
    assert await types(office, type="oadrPoll") == ["oadrPoll"]
    assert await types(office, faults="true") == ["oadrCreateOpt"]
    assert await types(office, since="2199-01-01T00:00:00Z") == []
    assert await types(office, until="2199-01-01T00:00:00Z", limit=1) == ["oadrCreatedEvent"]
    await office.get("/v1/messages?ven_id=nobody", 404)
    await office.get("/v1/messages?since=yesterday", 422)
    await office.get("/v1/messages?cursor=x", 422)


async def test_pages_have_every_message_once(office):
    await logged(office.world, *(replace(SPOKEN, request=b"<eventID>e%d</eventID>" % number) for number in range(7)))
    seen, cursor = [], ""
    while cursor is not None:
        page = await office.get(f"/v1/messages?limit=2{cursor and '&cursor='}{cursor}")
        seen += [each["event_ids"] for each in page["items"]]
        cursor = page["next"]
    assert sorted(seen) == [[f"e{number}"] for number in range(7)]


async def test_a_message_is_read_with_its_bodies(office):
    ven = await office.world.ven()
    await logged(office.world, replace(SPOKEN, fingerprint=ven.peer.fingerprint))
    (listed,) = (await office.get("/v1/messages"))["items"]
    assert (listed["message"], listed["answer"]) == (None, None)
    assert (listed["ven_id"], listed["fingerprint"], listed["sender"]) == (ven.ven_id, ven.peer.fingerprint, "ven")
    read = await office.get(f"/v1/messages/{listed['id']}", who="viewer")
    assert (read["message"], read["answer"]) == ("<eventID>e1</eventID>", "<a/>")
    assert (await office.get("/v1/messages?bodies=true"))["items"] == [read]
    await office.get("/v1/messages/none", 404)


async def test_with_bodies_a_page_is_short(office):
    await logged(office.world, *[SPOKEN] * 60)
    page = await office.get("/v1/messages?bodies=true&limit=500")
    assert len(page["items"]) == 50
    assert len((await office.get(f"/v1/messages?bodies=true&cursor={page['next']}"))["items"]) == 10


async def test_a_ven_s_messages_are_one_file(office):
    ven, other = await office.world.ven(), await office.world.ven()
    await logged(
        office.world,
        replace(SPOKEN, fingerprint=ven.peer.fingerprint, request=b"<registrationID>reg_secret</registrationID>"),
        replace(SPOKEN, fingerprint=ven.peer.fingerprint, type="oadrCreateOpt", status=503),
        replace(SPOKEN, fingerprint=other.peer.fingerprint),
    )
    path = f"/v1/vens/{ven.ven_id}/message-record"
    saved = await office.get(path, who="viewer")
    assert [each["step"].partition(":")[0] for each in saved["exchanges"]] == ["oadrCreateOpt", "oadrPoll"]
    assert "reg_secret" not in str(saved)
    assert len((await office.get(f"{path}?faults=true"))["exchanges"]) == 1
    async with office.client.get(path, headers=office.headers("viewer")) as answer:
        assert answer.headers["Content-Disposition"] == f'attachment; filename="messages-{ven.ven_id}.json"'
    async with office.client.head(path, headers=office.headers("viewer")) as answer:
        assert (answer.status, await answer.read()) == (200, b"")
    await office.get("/v1/vens/nobody/message-record", 404)
    await office.get(f"{path}?since=yesterday", 422)
