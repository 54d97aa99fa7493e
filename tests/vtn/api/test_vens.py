"""VENs, codes and certificates."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import insert

from certs.authority import Authority
from certs.keys import common_name, new_key
from core.spans import Duration
from openadr.fingerprint import fingerprint_of_pem
from openadr.model.registration import VenProfile
from openadr.v20b.messages import CreatePartyRegistration, OadrResponse, Poll
from support.vtn_world import Ven, fake_fingerprint, usage
from vtn.api import DESK
from vtn.services import pending
from vtn.services.settings import WantedReport
from vtn.store.tables import waiting_certificate
from vtn.transport.peer import Peer


def _forever(name):
    """Return a certificate of somebody else, without end (RFC 5280: 9999)."""
    key = new_key("ec")
    builder = x509.CertificateBuilder().subject_name(common_name(name)).issuer_name(common_name("elsewhere"))
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(datetime(1955, 1, 1, tzinfo=UTC))
    builder = builder.not_valid_after(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


async def _enrol(office, ven_id, code=None):
    code = code or (await office.post(f"/v1/vens/{ven_id}/enrolment-codes"))["code"]
    body = {"code": code, "csr": office.signing_request()}
    return await office.post("/v1/enrolments", body, who=None)


def _speaker(office, ven_id, bundle):
    return Ven(office.world, ven_id, Peer(bundle["fingerprint"], "test"))


def _state(office, fingerprint):
    return next(one for one in office.authority.issued() if one.fingerprint == fingerprint)


async def test_a_code_buys_a_certificate_once(office):
    made = await office.post("/v1/vens", {"name": "Home 1"})
    assert made["ven"]["presence"] == "never"
    body = {"code": made["code"], "csr": office.signing_request()}
    bundle = await office.post("/v1/enrolments", body, who=None)
    assert bundle["ven_id"] == made["ven"]["id"]
    assert bundle["fingerprint"] == fingerprint_of_pem(bundle["certificate"].encode())
    assert bundle["ca"] == office.authority.ca_pem
    assert bundle["vtn_url"] == "https://vtn.example/OpenADR2"
    again = await office.post("/v1/enrolments", body, who=None)
    assert again["ven_id"] == bundle["ven_id"], "a lost answer may be asked for again with the same request"
    other = body | {"csr": office.signing_request()}
    await office.post("/v1/enrolments", other, 403, who=None)
    await office.post("/v1/enrolments", body | {"code": "ABCD-EFGH-JKLM"}, 403, who=None)
    await office.post("/v1/enrolments", body | {"csr": "x" * 60}, 403, who=None)


async def test_guessing_codes_has_to_wait(office):
    made = await office.post("/v1/vens", {"name": "Home 1"})
    body = {"csr": office.signing_request()}
    for number in range(10):
        await office.post("/v1/enrolments", body | {"code": f"WRNG-{number}"}, 403, who=None)
    problem = await office.post("/v1/enrolments", body | {"code": made["code"]}, 429, who=None)
    assert "Wait 61 seconds" in problem["detail"]
    office.client.app[DESK].codes_by_address._failures.clear()
    await office.post("/v1/enrolments", body | {"code": made["code"]}, who=None)


async def test_wrong_codes_from_everywhere_keep_no_good_one_out(office):
    made = await office.post("/v1/vens", {"name": "Home 1"})
    body = {"csr": office.signing_request()}
    for number in range(300):
        office.client.app[DESK].codes_by_address._failures.clear()  # each is from another address
        await office.post("/v1/enrolments", body | {"code": f"WRNG-{number}"}, 403, who=None)
    await office.post("/v1/enrolments", body | {"code": made["code"]}, who=None)


async def test_old_and_new_certificate_work_until_the_old_one_is_revoked(office):
    made = await office.post("/v1/vens", {"name": "Home 1"})
    ven_id = made["ven"]["id"]
    old = _speaker(office, ven_id, await _enrol(office, ven_id, made["code"]))
    assert (await old.register()).response.ok
    new = _speaker(office, ven_id, await _enrol(office, ven_id))
    for one in (old, new):
        await one.drain()
        assert (await one.say(Poll(ven_id))).response.ok
    await office.post(f"/v1/certificates/{old.peer.fingerprint.lower()}/revocation", status=204)
    assert (await old.say(Poll(ven_id))).response.code == 463
    assert (await new.say(Poll(ven_id))).response.ok
    certificates = (await office.get(f"/v1/vens/{ven_id}"))["certificates"]
    assert {one["fingerprint"]: one["revoked_at"] is not None for one in certificates} == {
        old.peer.fingerprint: True,
        new.peer.fingerprint: False,
    }


async def test_a_revocation_reaches_the_authority_and_its_list(office):
    made = await office.post("/v1/vens", {"name": "Home 1"})
    bundle = await _enrol(office, made["ven"]["id"], made["code"])
    path = f"/v1/certificates/{bundle['fingerprint']}/revocation"
    await office.post(path, status=204)
    assert _state(office, bundle["fingerprint"]).revoked_at is not None
    revoked = x509.load_pem_x509_crl((office.authority.directory / "crl.pem").read_bytes())
    serial = x509.load_pem_x509_certificate(bundle["certificate"].encode()).serial_number
    assert revoked.get_revoked_certificate_by_serial_number(serial) is not None
    await office.post(path, status=204)


async def test_a_foreign_certificate_is_accepted_and_revoked(office):
    made = await office.post("/v1/vens", {"name": "Home 1"})
    path = f"/v1/vens/{made['ven']['id']}/certificates"
    pem = _forever("theirs")
    (accepted,) = (await office.post(path, {"pem": pem}))["certificates"]
    assert (accepted["not_before"], accepted["not_after"]) == (None, None)
    await office.post(path, {"pem": pem})
    await office.post(f"/v1/certificates/{accepted['fingerprint']}/revocation", status=204)
    await office.refused(path, {"pem": pem}, "was revoked", 409)
    other = await office.post("/v1/vens", {"name": "Home 2"})
    await office.refused(f"/v1/vens/{other['ven']['id']}/certificates", {"pem": pem}, "another VEN", 409)


async def test_a_waiting_certificate_is_accepted_by_its_fingerprint(office):
    stranger = Ven(office.world, "?", Peer(fake_fingerprint(77), "commonName=theirs"))
    answer = await stranger.say(CreatePartyRegistration("r", VenProfile()))
    assert answer.response.code == 463
    (waiting,) = (await office.get("/v1/waiting-certificates"))["items"]
    assert (waiting["subject"], waiting["attempts"]) == ("commonName=theirs", 1)
    made = await office.post("/v1/vens", {"name": "Home 1"})
    path = f"/v1/vens/{made['ven']['id']}/certificates"
    await office.post(path, {"fingerprint": waiting["fingerprint"].lower()})
    assert (await office.get("/v1/waiting-certificates"))["items"] == []
    stranger.ven_id = made["ven"]["id"]
    assert (await stranger.register()).response.ok
    await office.refused(path, {"fingerprint": waiting["fingerprint"]}, "in use", 409)


async def test_a_revoked_certificate_does_not_wait_to_be_accepted(office):
    made = await office.post("/v1/vens", {"name": "Home 1"})
    ven_id = made["ven"]["id"]
    old = _speaker(office, ven_id, await _enrol(office, ven_id, made["code"]))
    await office.post(f"/v1/certificates/{old.peer.fingerprint}/revocation", status=204)
    assert (await old.say(Poll(ven_id))).response.code == 463
    assert (await office.get("/v1/waiting-certificates"))["items"] == []
    async with office.world.tx() as tx:  # as an earlier version left it
        row = {"fingerprint": old.peer.fingerprint, "subject": "s", "attempts": 1}
        await tx.conn.execute(
            insert(waiting_certificate).values(**row, first_seen_at=office.world.now, last_seen_at=office.world.now)
        )
    assert (await office.get("/v1/waiting-certificates"))["items"] == []
    async with office.world.db.read() as conn:
        assert (await pending.alerts(conn, expiring_before=office.world.now)).waiting_certificates == 0


async def test_a_certificate_that_could_never_connect_is_refused_with_the_reason(office, tmp_path):
    made = await office.post("/v1/vens", {"name": "Home 1"})
    path = f"/v1/vens/{made['ven']['id']}/certificates"
    object.__setattr__(office.client.app[DESK], "client_ca", office.authority.directory / "ca.pem")
    foreign = Authority.create(tmp_path / "foreign", "Foreign CA")
    for pem, reason in (
        (office.authority.issue_server(["x"]).chain_pem, "clientAuth"),
        (office.authority.ca_pem, "authority's certificate"),
        (foreign.issue_client("home").chain_pem, "none of the authorities"),
        (_forever("theirs"), "none of the authorities"),
    ):
        await office.refused(path, {"pem": pem}, reason)
    await office.post(path, {"pem": office.authority.issue_client("home").chain_pem})


async def test_the_authoritys_certificate_is_public(office):
    async with office.client.get("/v1/ca.pem") as answer:
        assert answer.status == 200
        assert answer.content_type == "application/x-pem-file"
        assert await answer.text() == office.authority.ca_pem


async def test_an_odd_certificate_is_refused(office):
    made = await office.post("/v1/vens", {"name": "Home 1"})
    for body, text in (
        ({}, "either"),
        ({"pem": "x", "fingerprint": "AA:BB:CC:DD:EE:FF:00:11:22:33"}, "either"),
        ({"pem": "x"}, "PEM"),
        ({"fingerprint": "AA"}, "such as"),
    ):
        await office.refused(f"/v1/vens/{made['ven']['id']}/certificates", body, text)


async def test_a_removed_ven_is_gone_from_everywhere_but_its_data_stays(office):
    made = await office.post("/v1/vens", {"name": "Home 1"})
    ven_id, code = made["ven"]["id"], made["code"]
    gone = _speaker(office, ven_id, await _enrol(office, ven_id, code))
    await gone.register()
    stays = await office.world.ven()
    programme = await office.programme(gone, stays)
    fresh = (await office.post(f"/v1/vens/{ven_id}/enrolment-codes"))["code"]
    await office.call("DELETE", f"/v1/vens/{ven_id}", 204)
    assert (await gone.say(Poll(ven_id))).response.code == 463
    assert _state(office, gone.peer.fingerprint).reason == "cessationOfOperation"
    assert [one["id"] for one in (await office.get("/v1/vens"))["items"]] == [stays.ven_id]
    assert (await office.get(f"/v1/vens/{ven_id}"))["ven"]["removed_at"] is not None
    assert (await office.get(f"/v1/programmes/{programme}/enrolments"))["ven_ids"] == [stays.ven_id]
    called = await office.post("/v1/dispatches", office.order(programme))
    assert [one["ven_id"] for one in called["events"]] == [stays.ven_id], "a removed VEN must not block the others"
    await office.post("/v1/enrolments", {"code": fresh, "csr": office.signing_request()}, 403, who=None)
    for path, body in (
        (f"/v1/vens/{ven_id}/enrolment-codes", None),
        (f"/v1/vens/{ven_id}/certificates", {"fingerprint": fake_fingerprint(9)}),
        (f"/v1/programmes/{programme}/enrolments", {"ven_ids": [ven_id]}),
        (f"/v1/vens/{ven_id}/report-requests", {"specifier_id": "x", "r_ids": ["y"]}),
    ):
        await office.refused(path, body, "was removed", 409)
    await office.call("DELETE", f"/v1/vens/{ven_id}", 404)


async def test_presence_follows_the_polls(office):
    ven = await office.world.ven(register=False)

    async def presence():
        await office.world.directory.flush_seen()
        (one,) = (await office.get("/v1/vens"))["items"]
        return one["presence"]

    assert await presence() == "never"
    await ven.register()
    assert await presence() == "online"
    office.world.later(seconds=100)
    assert await presence() == "online"
    office.world.later(seconds=1)
    assert await presence() == "stale"
    await ven.drain()
    assert await presence() == "online"


async def test_a_ven_is_online_as_soon_as_it_has_registered(office):
    await office.world.ven()
    (one,) = (await office.get("/v1/vens"))["items"]
    assert one["presence"] == "online", "what is coalesced is not written yet"


async def test_vens_are_listed_page_by_page(office):
    ids = [(await office.post("/v1/vens", {"name": f"Home {number}"}))["ven"]["id"] for number in range(5)]
    found, path = [], "/v1/vens?limit=2"
    while path:
        page = await office.get(path)
        found += [one["id"] for one in page["items"]]
        path = f"/v1/vens?limit=2&cursor={page['next']}" if page["next"] else None
    assert found == sorted(ids)


async def test_a_name_is_printable_and_bounded(office):
    for name in ("", " ", "x" * 121, "a\nb", "a\x1b[31mb", "\u202eevil"):
        await office.post("/v1/vens", {"name": name}, 422)
    assert (await office.get("/v1/vens"))["items"] == []


async def test_a_ven_can_be_asked_to_register_again_and_be_unregistered(office):
    ven = await office.world.ven()
    await office.post(f"/v1/vens/{ven.ven_id}/reregistration", status=202)
    await office.post(f"/v1/vens/{ven.ven_id}/cancellation", status=202)
    kinds = [type(one).__name__ for one in await ven.drain()]
    assert kinds == ["RequestReregistration", "CancelPartyRegistration"]
    assert isinstance(await ven.poll(), OadrResponse)
    await office.post("/v1/vens/nobody/reregistration", status=404)


async def test_nobody_has_that_id(office):
    for path in ("/v1/vens/x", "/v1/vens/x/reports", "/v1/programmes/x", "/v1/dispatches/x", "/v1/events/x"):
        await office.get(path, 404)
    await office.get("/v1/vens/x/readings?since=2026-01-01T00:00:00Z&until=2026-01-02T00:00:00Z", 404)
    await office.post("/v1/vens/x/enrolment-codes", status=404)
    await office.post("/v1/vens/x/report-requests", {"specifier_id": "x", "r_ids": ["y"]}, 404)
    await office.post(f"/v1/certificates/{fake_fingerprint(3)}/revocation", status=404)
    await office.post("/v1/certificates/3/revocation", status=422)
    await office.post("/v1/principals/x/revocation", status=404)


async def test_what_was_wrong_with_a_vens_messages_is_shown(office):
    ven = await office.world.ven()
    await ven.say(Poll("none such"))
    await office.world.faults.flush()
    (fault,) = (await office.get(f"/v1/vens/{ven.ven_id}"))["faults"]
    assert (fault["kind"], fault["subject"], fault["count"]) == ("refused", "oadrPoll 452", 1)
    assert "none such" in fault["text"]


async def test_what_a_ven_never_answered_is_shown(office):
    ven = await office.world.ven()
    await office.post(f"/v1/vens/{ven.ven_id}/cancellation", status=202)
    for _ in range(office.world.settings.max_tries + 1):
        await ven.poll()
        office.world.later(minutes=2)
    (message,) = (await office.get(f"/v1/vens/{ven.ven_id}"))["unanswered"]
    assert (message["kind"], message["tries"]) == ("unregister", office.world.settings.max_tries)


async def test_signatures_are_asked_of_a_ven(office):
    ven = await office.world.ven()
    path = f"/v1/vens/{ven.ven_id}"
    told = (await office.get(path))["ven"]
    assert (told["signatures"], told["xml_signature"]) == ("when_present", False)
    for policy in ("required", "required", "off"):
        assert await office.put(f"{path}/signatures", {"policy": policy}) == {"policy": policy}
        assert (await office.get(path))["ven"]["signatures"] == policy
    audited = [row for row in await office.world.rows("audit") if row.action == "set signatures"]
    assert [(row.before, row.after) for row in audited] == [("when_present", "required"), ("required", "off")]
    await office.put(f"{path}/signatures", {"policy": "perhaps"}, status=422)
    await office.put("/v1/vens/none/signatures", {"policy": "off"}, status=404)


async def test_what_cannot_be_had_and_what_never_came_is_shown(office):
    minute = Duration.of(minutes=1)
    wanted = (WantedReport("TELEMETRY_USAGE", minute, minute), WantedReport("TELEMETRY_STATUS", minute, minute))
    object.__setattr__(office.world.settings, "wanted_reports", wanted)
    ven = await office.world.ven("home")
    asked_at = office.world.now
    (request,) = await ven.offer(usage("meter"))
    shown = await office.get(f"/v1/vens/{ven.ven_id}/reports")
    assert shown["shortfalls"] == ["TELEMETRY_STATUS is wanted and not offered."]
    assert [(one["id"], one["missing_since"]) for one in shown["requests"]] == [(request.request_id, None)]
    office.world.later(hours=3)
    (late,) = (await office.get(f"/v1/vens/{ven.ven_id}/reports"))["requests"]
    due = datetime.fromisoformat(late["missing_since"])
    assert asked_at < due <= asked_at + timedelta(hours=1)


async def test_where_a_ven_of_2_0a_is_pushed_to(office):
    older, newer = await office.world.ven(register=False), await office.world.ven()
    path = f"/v1/vens/{older.ven_id}/push-address"
    for address, why in (("https://192.168.0.1", "not a public address"), ("10.0.0.5", "no URL"), ("", "")):
        problem = await office.put(path, {"address": address}, 422)
        assert why in str(problem)
    assert await office.put(path, {"address": "https://10.0.0.5"}) == {"address": "https://10.0.0.5"}
    ven = (await office.get(f"/v1/vens/{older.ven_id}"))["ven"]
    assert (ven["mode"], ven["address"], ven["presence"]) == ("push", "https://10.0.0.5", "never")
    assert ven["registered_at"] is not None
    await office.put(path, {"address": None})
    ven = (await office.get(f"/v1/vens/{older.ven_id}"))["ven"]
    assert (ven["mode"], ven["address"]) == ("pull", None)
    await office.put(f"/v1/vens/{newer.ven_id}/push-address", {"address": "https://10.0.0.5"}, 409)
    await office.put("/v1/vens/nobody/push-address", {"address": None}, 404)
