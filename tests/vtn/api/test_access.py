"""Who may call what: every operation, as every kind of caller."""

import re

from vtn.api import OPERATIONS
from web.auth import Role
from web.operation import inspect_handler

_ALL = [inspect_handler(one) for one in OPERATIONS]


_CALLERS = [(told, who) for told in _ALL for who in (None, *Role)]


async def test_each_operation_asks_for_its_role(office):
    """Ids that nobody has and no body: whoever is let in gets a 2xx or hears what is wrong, never 401 or 403."""
    for told, who in _CALLERS:
        path = re.sub(r"\{[a-z_]+\}", "nothing", told.description.path)
        needed = told.description.roles
        headers = office.headers(who)
        async with office.client.request(told.description.method, path, headers=headers) as answer:
            if not needed:
                assert answer.status == (415 if told.description.method == "POST" else 200)
            elif who is None:
                assert answer.status == 401
            elif not any(who.includes(role) for role in needed):
                assert answer.status == 403, f"{who} may call {told.id}"
            else:
                assert answer.status in {200, 404, 415, 422}, f"{who} may not call {told.id}"


def test_reading_needs_a_viewer_and_administration_an_admin():
    needed = {one.id: one.description.roles for one in _ALL}
    open_to_all = [name for name, roles in needed.items() if not roles]
    assert open_to_all == ["redeem_code", "get_authority"]
    secret = {"list_audit", "list_principals"}
    for one in _ALL:
        if one.description.method == "GET" and one.id not in open_to_all:
            assert needed[one.id] == ((Role.ADMIN,) if one.id in secret else (Role.VIEWER,))
    administration = {name for name, roles in needed.items() if roles == (Role.ADMIN,)} - secret
    assert administration == {
        "create_ven", "remove_ven", "create_enrolment_code", "cancel_registration", "add_certificate",
        "revoke_certificate", "create_programme", "change_programme", "enrol_vens", "create_principal",
        "revoke_principal", "end_enrolment", "create_household_token", "choose_settlement",
        "set_signatures", "set_push_address", "add_holiday", "remove_holiday", "add_outage", "end_outage",
        "remove_outage", "take_meter_data", "draw_control_group", "agree_baseline", "take_temperatures",
    }  # fmt: skip


async def test_a_revoked_token_stops_at_once(office):
    made = await office.post("/v1/principals", {"name": "bob", "role": "dispatcher"})
    office.tokens["bob"] = made["token"]
    await office.get("/v1/vens", who="bob")
    bob = made["principal"]["id"]
    await office.post(f"/v1/principals/{bob}/revocation", status=204)
    await office.get("/v1/vens", 401, who="bob")
    await office.post(f"/v1/principals/{bob}/revocation", status=204)
    listed = {one["name"]: one for one in (await office.get("/v1/principals"))["items"]}
    assert listed["bob"]["revoked_at"] is not None
    assert listed["admin"]["revoked_at"] is None


async def test_a_revoked_name_gets_a_new_token_and_role(office):
    first = await office.post("/v1/principals", {"name": "bob", "role": "admin"})
    await office.refused("/v1/principals", {"name": "bob"}, "exists already", 409)
    await office.post(f"/v1/principals/{first['principal']['id']}/revocation", status=204)
    second = await office.post("/v1/principals", {"name": "bob", "days": 1})
    assert second["principal"]["id"] == first["principal"]["id"]
    assert second["principal"]["role"] == "viewer"
    assert second["principal"]["expires_at"] is not None
    office.tokens |= {"old": first["token"], "new": second["token"]}
    await office.get("/v1/vens", 401, who="old")
    await office.get("/v1/vens", who="new")
    await office.get("/v1/audit", 403, who="new")


async def test_an_odd_operator_is_refused(office):
    for body, text in (
        ({"name": " bob"}, "printable"),
        ({"name": "b\tb"}, "printable"),
        ({"name": ""}, "/name"),
        ({"name": "b", "role": "household"}, "/role"),
        ({"name": "b", "days": 0}, "/days"),
        ({"name": "b", "days": 10**9}, "/days"),
    ):
        await office.refused("/v1/principals", body, text)


async def test_tokens_are_stored_as_hashes_only(office):
    await office.post("/v1/principals", {"name": "bob"})
    dump = repr(await office.world.dump())
    assert not any(token in dump for token in office.tokens.values())
    assert office.tokens["admin"].startswith("evl_")
