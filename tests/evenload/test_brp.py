"""The BRP API in a whole VTN process: TLS, bound tokens, webhooks, the command line and the example."""

import importlib.util
import json
import re
import ssl
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from certs.authority import Authority
from core.errors import InvalidError
from evenload.brp_client import BrpClient
from evenload.client import OperatorClient, RequestError
from evenload.server import running
from evenload.settings import load_settings
from evenload.setup import Shape, prepare
from support.waiting import until

EXAMPLE = Path(__file__).parents[2] / "examples" / "brp.py"


def example():
    spec = importlib.util.spec_from_file_location("brp_example", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Place:
    """A VTN in this process with a BRP, and an administrator at its desk."""

    def __init__(self, vtn, desk, directory, made):
        self.vtn, self.desk, self.directory, self.made = vtn, desk, directory, made
        self.ca = directory / "ca" / "ca.pem"

    @property
    def client_id(self):
        return self.made["client"]["id"]

    def brp(self, **more):
        return BrpClient(self.vtn.api_url, self.client_id, self.made["secret"], ca=self.ca, **more)


@pytest.fixture
async def place(tmp_path):
    made = await prepare(tmp_path / "vtn", ("127.0.0.1",), "evenload", Shape("127.0.0.1", 0, 0))
    with made.settings.open("a") as file:
        file.write('\n[brp]\nmutual_tls = true\n\n[outgoing]\nallow = ["127.0.0.1"]\n')
    ca = made.settings.parent / "ca" / "ca.pem"
    async with (
        running(load_settings(made.settings)) as vtn,
        OperatorClient(f"{vtn.api_url}/v1", made.token, ca=ca) as desk,
    ):
        brp = await desk.post("/brps", {"name": "Balance & Co"})
        yield Place(vtn, desk, made.settings.parent, brp)


async def test_both_apis_share_a_listener_and_each_has_its_document(place):
    context = ssl.create_default_context(cafile=place.ca)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        for path, there in (("/openapi.json", "/v1/brps"), ("/brp/openapi.json", "/brp/v1/me")):
            async with session.get(f"{place.vtn.api_url}{path}") as answer:
                assert there in (await answer.json())["paths"]
        for path in ("/docs", "/brp/docs"):
            async with session.get(f"{place.vtn.api_url}{path}") as answer:
                assert answer.content_type == "text/html"
    async with place.brp() as brp:
        assert (await brp.get("/me"))["name"] == "Balance & Co"


async def test_a_webhook_arrives_signed(place, aiohttp_server):
    came = []

    async def hook(request):
        came.append((request.headers.copy(), await request.read()))
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/hook", hook)
    server = await aiohttp_server(app)
    async with place.brp() as brp:
        body = {"url": f"http://127.0.0.1:{server.port}/hook"}
        made = await brp.post("/webhook-subscriptions", body)
        await brp.post(f"/webhook-subscriptions/{made['subscription']['id']}/test")
        await until(lambda: came, "the message")
        headers, raw = came[0]
        verify = example().verify
        assert verify(made["secret"], headers, raw)
        assert not verify(made["secret"], headers, raw + b" ")
        assert not verify(made["secret"], {**headers, "webhook-timestamp": "1"}, raw)
        (delivery,) = await brp.all("/webhook-deliveries")
        path = f"/webhook-deliveries/{delivery['id']}"
        assert (await brp.until(path, lambda one: one["state"] == "done", 0.05))["last_status"] == 204


async def test_a_token_is_bound_to_the_certificate_shown_in_tls(place, tmp_path):
    authority = Authority.load(place.directory / "ca")
    pairs = []
    for name in ("ours", "another"):
        issued = authority.issue_client(name)
        (tmp_path / f"{name}.pem").write_text(issued.chain_pem)
        (tmp_path / f"{name}.key").write_text(issued.key_pem)
        pairs.append((tmp_path / f"{name}.pem", tmp_path / f"{name}.key"))
    body = {"name": "bound", "certificate": pairs[0][0].read_text()}
    place.made = await place.desk.post(f"/brps/{place.made['brp']['id']}/clients", body)
    async with place.brp(certificate=pairs[0]) as brp:
        me = await brp.get("/me")
        assert me["client_id"] == place.client_id
        token = brp._api._headers["Authorization"].removeprefix("Bearer ")
    for certificate in (None, pairs[1]):
        async with place.brp(certificate=certificate) as brp:
            with pytest.raises(RequestError, match="secret or certificate is not right"):
                await brp.get("/me")
        context = ssl.create_default_context(cafile=place.ca)
        if certificate is not None:
            context.load_cert_chain(*certificate)
        async with OperatorClient(f"{place.vtn.api_url}/brp/v1", token, ca=context) as thief:
            with pytest.raises(RequestError, match="bound to a certificate"):
                await thief.get("/me")


async def test_a_lost_token_is_replaced(place):
    async with place.brp() as brp:
        await brp.get("/me")
        brp._api._session.headers["Authorization"] = "Bearer a.b.c"
        assert (await brp.get("/me"))["client_id"] == place.client_id


async def test_a_wrong_secret_and_no_secret(place):
    place.made = {**place.made, "secret": "evs_wrong"}
    async with place.brp() as brp:
        with pytest.raises(RequestError, match="No token: Client id, secret or certificate"):
            await brp.get("/me")
    with pytest.raises(InvalidError, match="EVENLOAD_BRP_CLIENT_ID"):
        BrpClient(place.vtn.api_url, "", "")
    async with BrpClient("http://brp.example", "a", "b") as brp:
        with pytest.raises(InvalidError, match="Plain HTTP"):
            await brp.get("/me")


async def test_a_post_whose_answer_is_lost_is_sent_again_with_the_same_key(place, monkeypatch):
    keys = []
    original = OperatorClient.post

    async def lossy(self, path, body=None, *, headers=None):
        keys.append(headers["Idempotency-Key"])
        made = await original(self, path, body, headers=headers)
        if len(keys) == 1:
            raise RequestError("gone", 503, "", "")
        return made

    monkeypatch.setattr(OperatorClient, "post", lossy)

    async def no_sleep(_seconds):
        return None

    async with place.brp(sleep=no_sleep) as brp:
        await brp.post("/webhook-subscriptions", {"url": "https://brp.example/hook"})
        assert len(keys) == 2
        assert len(set(keys)) == 1
        assert len(await brp.all("/webhook-subscriptions")) == 1


async def test_the_example_gets_its_answer(place):
    module = example()
    programme = await place.desk.post("/programmes", {"name": "P", "market_context": "http://grid/p"})
    contract = {"brp_id": place.made["brp"]["id"], "programme_id": programme["id"]}
    await place.desk.post("/contracts", contract)
    async with module.Brp(place.vtn.api_url, place.client_id, place.made["secret"], str(place.ca)) as brp:
        start = datetime.fromisoformat((await brp.get("/me"))["now"]).replace(second=0, microsecond=0)
        with pytest.raises(SystemExit, match="declined: Over the potential"):
            await module.buy(brp, "reduce", 1000, start + timedelta(hours=2), 3600)
        with pytest.raises(module.ApiError, match="No flexibility request") as caught:
            await brp.get("/flexibility-requests/none")
        assert caught.value.status == 404


@pytest.fixture
def shell(terminal, live, monkeypatch):
    """A terminal of an administrator, who is also a BRP."""
    for name, value in (("URL", live.url), ("TOKEN", live.token), ("CA", live.ca)):
        monkeypatch.setenv(f"EVENLOAD_{name}", str(value))
    return terminal


def _json(terminal, *arguments):
    return json.loads(terminal.good(*arguments, "--json"))


def test_the_commands_of_seller_and_buyer(shell, live, monkeypatch):
    made = _json(shell, "market", "add-brp", "Balance & Co")
    assert "Balance & Co" in shell.good("market", "brps")
    programme = shell.good("programme", "create", "peak", "--market-context", "http://example.com/brp-peak").strip()
    price = ("--per-kwh", "0.20", "--penalty-per-kwh", "0.40", "--direct-orders")
    contract = shell.good("market", "add-contract", made["brp"]["id"], programme, *price).strip()
    assert contract in shell.good("market", "contracts")
    second = shell.good("market", "add-client", made["brp"]["id"], "night", "--scope", "flex:read")
    assert "evs_" in second
    for name, value in (
        ("URL", live.url), ("CA", live.ca), ("CLIENT_ID", made["client"]["id"]), ("SECRET", made["secret"]),
    ):  # fmt: skip
        monkeypatch.setenv(f"EVENLOAD_BRP_{name}", str(value))
    me = _json(shell, "brp", "me")
    assert [one["id"] for one in me["contracts"]] == [contract]
    assert contract in shell.good("brp", "me")
    assert "peak" in shell.good("brp", "programmes")

    start = datetime.fromisoformat(me["now"]).replace(second=0, microsecond=0) + timedelta(days=1)
    when = ("--start", start.isoformat(timespec="seconds"), "--duration", "PT30M")
    assert "available w" in shell.good("brp", "potential", *when)
    typed = shell.type("brp", "request", *when, "--power-w", 1000, "--wait", "--json")
    asked = json.loads(typed.out)
    assert (typed.code, asked["status"], asked["possible_w"]) == (1, "declined", [0])
    assert asked["id"] in shell.good("brp", "requests")
    typed = shell.type("brp", "request", *when, "--power-w", 1000, "--wait")
    assert typed.code == 1
    assert "declined" in typed.out
    assert "Nothing is possible in that time" in typed.out
    for empty in ("offers", "activations", "settlements", "tariffs"):
        assert "yet" in shell.good("brp", empty)
    refused = shell.bad("brp", "order", *when, "--power-w", 1000)
    assert "Possible in each interval" in refused
    assert "no activation" in shell.bad("brp", "cancel", "xyz")
    assert "declined" in shell.bad("brp", "cancel", asked["id"])
    assert "No activation" in shell.bad("brp", "watch", "act_none")
    assert "No activation" in shell.bad("brp", "report", "act_none")

    hook = _json(shell, "brp", "webhook", "add", "https://brp.example/hook", "--event", "offer.*")
    own = hook["subscription"]["id"]
    assert own in shell.good("brp", "webhook", "list")
    delivery = shell.good("brp", "webhook", "test", own).strip()
    assert delivery in shell.good("brp", "webhook", "deliveries")
    assert "Removed" in shell.good("brp", "webhook", "remove", own)
    assert delivery in shell.good("market", "deliveries", "--state", "dead")
    assert "not" in shell.bad("brp", "webhook", "add", "https://10.0.0.1/hook")

    assert "Revoked" in shell.good("market", "revoke", made["client"]["id"])
    assert "No token" in shell.bad("brp", "me")
    assert "ended at" in shell.good("market", "end-contract", contract)


def test_without_client_or_server_the_next_step_is_told(shell):
    assert "EVENLOAD_BRP_CLIENT_ID" in shell.bad("brp", "me")
    away = ("--url", "https://127.0.0.1:1", "--client-id", "a", "--secret", "b")
    assert "no token" in shell.bad("brp", "me", *away)
    assert "go together" in shell.bad("brp", "me", "--cert", "x.pem")
    assert "no readable PEM" in shell.bad("brp", "me", *away, "--ca", "/nonexistent")


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ("[brp]\nmutual_tls = true\n", "brp.mutual_tls needs api.certificate and openadr.ca"),
        ("[brp]\nrequests_per_minute = 0\n", "brp.requests_per_minute"),
        ('[outgoing]\nallow = "10.0.0.0/8"\n', "outgoing.allow"),
    ],
)
def test_settings_that_cannot_be_are_named(tmp_path, more, text):
    path = tmp_path / "vtn.toml"
    path.write_text(f'[openadr]\ninsecure = true\nurl = "http://127.0.0.1:8443"\n{more}')
    with pytest.raises(InvalidError, match=re.escape(text)):
        load_settings(path)


async def test_an_odd_host_in_the_list_is_named_at_the_start(tmp_path):
    path = tmp_path / "vtn.toml"
    path.write_text('[openadr]\ninsecure = true\nport = 0\n[api]\nport = 0\n[outgoing]\nallow = ["*.local"]\n')
    with pytest.raises(InvalidError, match="neither a network such as"):
        async with running(load_settings(path)):
            pass


@pytest.mark.parametrize(
    ("status", "possible", "code", "text"),
    [
        ("declined", [400, 0], 1, "What would be possible"),
        ("declined", [], 1, "declined. Too much"),
        ("expired", None, 1, "expired"),
        ("offered", None, 0, "offered"),
    ],
)
def test_a_request_without_an_offer_fails_and_says_what_would_be_possible(
    terminal, monkeypatch, status, possible, code, text
):
    start = "2026-01-31T17:00:00Z"
    intervals = [{"start": start, "min_w": 500, "max_w": 1000}, {"start": start, "min_w": 500, "max_w": 1000}]
    answer = {"id": "frq_1", "status": status, "status_reason": "Too much", "possible_w": possible, "offers": []}
    monkeypatch.setattr("evenload.brp_session.BrpSession.call", lambda *_: {**answer, "intervals": intervals})
    typed = terminal.type("brp", "request", "--start", start, "--power-w", 1000, "--wait")
    assert typed.code == code
    assert text in typed.out
    assert ("400" in typed.out) == (possible == [400, 0])
