"""Monthly statements as operators have them: over REST and by the commands, which BRPs have too; disputes answered."""

import asyncio
import json
from datetime import timedelta

import pytest
from yarl import URL

from evenload.cli import main

STATEMENTS = "/v1/statements"
MONTH = "2026-01"
HOSTILE_IDS = ["stm_none", "x" * 80, "x" * 81, "%00", "..%2Fbrps", "%F0%9F%92%A9", "'%20OR%201=1%20--", "%25"]
HOSTILE_MONTHS = [
    *(
        "",
        "2026-13",
        "2026-1",
        "26-01",
        "1999-12",
        "2026-01-01",
        "2026-01\n",
        "٢٠٢٦-01",
        "2026-01' --",
        "2026-00",
        202601,
    )
]


@pytest.fixture
async def shop(market):
    """A market with ten homes of 1 kW, and a buyer with a contract."""
    programme = await market.programme(10)
    buyer = await market.buyer()
    return buyer, await market.contract(buyer, programme)


async def versions(market, contract, count=2):
    """Make so many versions of the statement of a month, newest first."""
    made = []
    for _ in range(count):
        wish = {"contract_id": contract.id, "month": MONTH}
        made.insert(0, await market.post(STATEMENTS, "dispatcher", wish, 200))
        market.world.clock.advance(timedelta(days=32))
    return made


async def test_operators_make_list_and_read_the_statements_of_all(market, shop):
    buyer, contract = shop
    other = await market.buyer("Other")
    elsewhere = await market.contract(other, await market.programme())
    last, first = await versions(market, contract)
    (foreign,) = await versions(market, elsewhere, 1)
    assert (last["version"], first["version"], last["brp_id"]) == (2, 1, buyer.party_id)
    assert ("final", "False", "True") in [(one["what"], one["before"], one["after"]) for one in last["changes"]]
    again = await market.post(STATEMENTS, "dispatcher", {"contract_id": contract.id, "month": MONTH}, 200)
    assert again == last == await market.get(f"{STATEMENTS}/{last['id']}", "viewer")
    assert ("dispatcher", "statement", last["id"]) in await market.audited()

    async def ids(query):
        return [row["id"] for row in (await market.get(f"{STATEMENTS}?{query}", "viewer"))["items"]]

    assert await ids("") == [foreign["id"], last["id"], first["id"]]
    assert await ids(f"contract_id={contract.id}&month={MONTH}") == [last["id"], first["id"]]
    assert await ids(f"brp_id={other.party_id}") == [foreign["id"]]
    assert await ids("month=2026-02") == await ids("contract_id=ctr_none") == []
    page = await market.get(f"{STATEMENTS}?limit=2", "viewer")
    following = await market.get(f"{STATEMENTS}?limit=2&cursor={page['next']}", "viewer")
    assert [row["id"] for row in following["items"]] == [first["id"]]
    (head,) = (await market.get(f"{STATEMENTS}?brp_id={other.party_id}", "viewer"))["items"]
    assert (head["final"], head["activations"], head["sums"], head["month"]) == (True, 0, [], MONTH)
    (own,) = (await market.get("/brp/v1/statements", other))["items"]
    assert head == own | {"brp_id": other.party_id}


async def test_a_statement_is_read_as_csv_and_pdf(market, shop):
    buyer, contract = shop
    done = await market.reported(buyer, contract)
    wish = {"contract_id": contract.id, "month": done["starts_at"][:7]}
    stated = await market.post(STATEMENTS, "dispatcher", wish, 200)
    path = f"{STATEMENTS}/{stated['id']}"
    text, headers = await market.exchange("GET", path, 200, who="viewer", headers={"Accept": "text/csv"})
    assert text.splitlines()[1].startswith(f"{stated['id']},{wish['month']},1,{done['id']},")
    assert headers["Content-Disposition"] == f'attachment; filename="{contract.id}-{wish["month"]}-1.csv"'
    same = {"Accept": "text/csv", "If-None-Match": headers["ETag"]}
    await market.call("GET", path, 304, who="viewer", headers=same)
    sheets = []
    for base, who in ((path, f"Bearer {market.operators['viewer']}"), (f"/brp{path}", f"Bearer {buyer.token}")):
        async with market.http.get(f"{base}/pdf", headers={"Authorization": who}) as answer:
            assert (answer.status, answer.content_type) == (200, "application/pdf")
            sheets.append(await answer.read())
    assert sheets[0] == sheets[1]
    assert sheets[0].startswith(b"%PDF-")


async def test_an_id_that_nobody_has_is_not_there(market):
    headers = {"Authorization": f"Bearer {market.operators['viewer']}"}
    for statement_id in HOSTILE_IDS:
        for path in (f"{STATEMENTS}/{statement_id}", f"{STATEMENTS}/{statement_id}/pdf"):
            async with market.http.get(URL(path, encoded=True), headers=headers) as answer:
                assert answer.status in {400, 404, 422}, statement_id


async def test_what_is_no_month_is_refused(market, shop):
    _, contract = shop
    headers = {"Authorization": f"Bearer {market.operators['viewer']}"}
    for month in HOSTILE_MONTHS:
        await market.post(STATEMENTS, "dispatcher", {"contract_id": contract.id, "month": month}, 422)
        async with market.http.get(URL(STATEMENTS).with_query(month=month), headers=headers) as answer:
            assert answer.status == 422, month
    assert await market.world.rows("statement") == []


async def test_a_month_to_come_and_a_contract_that_is_not_are_refused(market, shop):
    _, contract = shop
    await market.refused(STATEMENTS, "dispatcher", {"contract_id": contract.id, "month": "2099-12"}, "has not begun")
    for contract_id in ("ctr_none", "x" * 80):
        await market.post(STATEMENTS, "dispatcher", {"contract_id": contract_id, "month": MONTH}, 404)
    await market.post(STATEMENTS, "dispatcher", {"contract_id": "x" * 81, "month": MONTH}, 422)
    await market.post(STATEMENTS, "viewer", {"contract_id": contract.id, "month": MONTH}, 403)


async def test_operators_answer_a_dispute_once(market, shop):
    buyer, contract = shop
    await market.reported(buyer, contract)
    (settlement,) = (await market.get("/v1/settlements", "viewer"))["items"]
    path, words = f"/v1/settlements/{settlement['id']}/answer", {"answer": "The meters agree."}
    await market.post(path, "dispatcher", words, 409)
    await market.post(f"/brp/v1/settlements/{settlement['id']}/dispute", buyer, {"reason": "Less!"}, 200)
    await market.post(path, "viewer", words, 403)
    for wrong in ({"answer": ""}, {"answer": " "}, {"answer": "x" * 2001}, {}, {"answer": None}):
        await market.post(path, "dispatcher", wrong, 422)
    answered = await market.post(path, "dispatcher", words, 200)
    assert (answered["dispute"], answered["answer"]) == ("Less!", "The meters agree.")
    await market.post(path, "dispatcher", words, 409)
    await market.post("/v1/settlements/stl_none/answer", "dispatcher", words, 404)
    assert await market.get(f"/brp/v1/settlements/{settlement['id']}", buyer) == answered


# -- commands


@pytest.fixture
def type_(market, monkeypatch, capsys):
    """Types a command, in a thread: its server runs in this one."""
    url = str(market.http.make_url("")).rstrip("/")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("EVENLOAD_URL", url)
    monkeypatch.setenv("EVENLOAD_TOKEN", market.operators["dispatcher"])
    monkeypatch.setenv("EVENLOAD_BRP_URL", url)

    async def run(*arguments, code=0):
        def go():
            try:
                main([*map(str, arguments)])
            except SystemExit as end:
                return end.code or 0
            return 0

        capsys.readouterr()
        ended = await asyncio.to_thread(go)
        printed = capsys.readouterr()
        assert ended == code, printed.err
        lines = [line for line in printed.out.splitlines() if "[info " not in line]
        return "\n".join(lines) if code == 0 else printed.err

    return run


async def test_the_commands_of_both_sides(market, shop, type_, monkeypatch, tmp_path):
    buyer, contract = shop
    monkeypatch.setenv("EVENLOAD_BRP_CLIENT_ID", buyer.client_id)
    monkeypatch.setenv("EVENLOAD_BRP_SECRET", buyer.secret)
    done = await market.reported(buyer, contract)
    assert "yet" in await type_("market", "statement", "list")
    csv, pdf = tmp_path / "month.csv", tmp_path / "month.pdf"
    shown = await type_("market", "statement", "make", contract.id, MONTH, "--csv", csv, "--pdf", pdf)
    assert f"{MONTH} of {contract.id}, version 1 (provisional, final at " in shown
    assert done["id"] in shown
    assert pdf.read_bytes().startswith(b"%PDF-")
    first = csv.read_bytes().decode()
    assert first.count("\r\n") == 2
    stated = json.loads(await type_("brp", "statement", "make", MONTH, "--json"))
    assert stated["version"] == 1
    for command in (("market", "statement", "show"), ("brp", "statement", "show")):
        assert await type_(*command, stated["id"], "--csv", "-") == "\n".join(first.splitlines())
        assert stated["id"] in await type_(*command, stated["id"])
    market.world.clock.advance(timedelta(days=1))
    (settlement,) = json.loads(await type_("market", "settlements", "--json"))
    await market.post(f"/brp/v1/settlements/{settlement['id']}/dispute", buyer, {"reason": "Less\x1b[2J!"}, 200)
    text = await type_("market", "settlements", "--activation", done["id"])
    assert "Less?[2J!" in text
    assert "Answered" in await type_("market", "answer", settlement["id"], "The meters agree.")
    assert "answered already" in await type_("market", "answer", settlement["id"], "Again.", code=1)
    changed = await type_("brp", "statement", "make", MONTH, "--contract", contract.id)
    assert "What differs from version 1" in changed
    assert "dispute of version 1" in changed
    rows = json.loads(await type_("market", "statement", "list", "--brp", "Balance & Co", "--month", MONTH, "--json"))
    assert [row["version"] for row in rows] == [2, 1]
    assert "EUR" in await type_("brp", "statement", "list", "--contract", contract.id)
    assert "yet" in await type_("brp", "statement", "list", "--month", "2026-02")


async def test_what_the_commands_refuse(market, shop, type_, tmp_path):
    _, contract = shop
    (stated,) = await versions(market, contract, 1)
    show, make = ("market", "statement", "show"), ("market", "statement", "make", contract.id)
    for bad in ("stm_x/pdf", "../brps", "a/../../x"):
        assert "no id of a statement" in await type_(*show, bad, code=1)
    assert "No statement" in await type_(*show, "stm_none", code=1)
    assert "\x1b" not in await type_(*show, "stm_\x1b[31m", code=1)
    assert "month" in await type_(*make, "2026-13", code=1)
    assert "has not begun" in await type_(*make, "2099-12", code=1)
    assert "No contract" in await type_("market", "statement", "make", "ctr_none", MONTH, code=1)
    assert "goes to a file" in await type_(*show, stated["id"], "--pdf", "-", code=1)
    assert "cannot be written" in await type_(*show, stated["id"], "--csv", tmp_path / "no" / "file", code=1)
