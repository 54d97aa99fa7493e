"""Getting tokens and using them: what RFC 6749, 8705 and 9068 ask, and what strangers try."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta

import jsonschema
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from aggregator.brp_api import gate as gate_module
from aggregator.brp_api import oauth
from core.errors import InvalidError
from vtn.services import access_tokens, api_clients
from vtn.services.access_tokens import Tokens
from vtn.store import tables
from vtn.store.database import Database

TOKEN = "/brp/v1/token"


def form(buyer, **more):
    return {"grant_type": "client_credentials", "client_id": buyer.client_id, "client_secret": buyer.secret} | more


def basic(name, secret):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


async def ask(market, status, *, data=None, error=None, **more):
    async with market.http.post(TOKEN, data=data, **more) as answer:
        body = await answer.json()
        assert answer.status == status, body
        assert answer.headers["Cache-Control"] == "no-store"
        described = market.documents["/brp"]["paths"][TOKEN]["post"]["responses"][str(status)]
        jsonschema.validate(body, described["content"]["application/json"]["schema"])
        assert body.get("error") == error, body
        assert ("WWW-Authenticate" in answer.headers) == (status == 401)
        return body


async def test_a_token_by_form_and_by_basic(market):
    buyer = await market.buyer(scopes=("flex:read", "flex:request"))
    first = await ask(market, 200, data=form(buyer))
    assert (first["token_type"], first["expires_in"], first["scope"]) == ("Bearer", 900, "flex:read flex:request")
    second = await ask(
        market,
        200,
        data={"grant_type": "client_credentials", "scope": "flex:read"},
        headers=basic(buyer.client_id, buyer.secret),
    )
    assert second["scope"] == "flex:read"
    head, claims, _ = (base64.urlsafe_b64decode(part + "==") for part in second["access_token"].split("."))
    assert json.loads(head)["typ"] == "at+jwt"
    assert json.loads(head)["alg"] == "ES256"
    told = json.loads(claims)
    assert told.keys() == {"iss", "aud", "sub", "client_id", "iat", "exp", "jti", "scope"}
    assert told["sub"] == told["client_id"] == buyer.client_id
    for token in (first, second):
        buyer.token = token["access_token"]
        me = await market.get("/brp/v1/me", buyer)
        assert me["party_id"] == buyer.party_id
        assert me["scopes"] == token["scope"].split()


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"client_secret": "evs_wrong"}, 401, "invalid_client"),
        ({"client_secret": ""}, 401, "invalid_client"),
        ({"client_id": "cli_nobody"}, 401, "invalid_client"),
        ({"client_id": "é"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": ""}, 400, "unsupported_grant_type"),
        ({"scope": "tariff:write"}, 400, "invalid_scope"),
        ({"scope": "flex:read  flex:request"}, 400, "invalid_scope"),
        ({"scope": "everything\n"}, 400, "invalid_scope"),
        ({"username": "x"}, 400, "invalid_request"),
        ({"scope": "x" * 9000}, 400, "invalid_request"),
    ],
)
async def test_what_is_wrong_with_a_token_request(market, change, status, error):
    buyer = await market.buyer(scopes=("flex:read",))
    await ask(market, status, data=form(buyer) | change, error=error)


async def test_a_token_request_of_another_shape(market):
    buyer = await market.buyer()
    good = form(buyer)
    await ask(market, 400, json=good, error="invalid_request")
    await ask(market, 400, data=good, headers=basic(buyer.client_id, buyer.secret), error="invalid_request")
    grant = {"grant_type": "client_credentials"}
    await ask(market, 401, data=grant, error="invalid_client")
    await ask(market, 401, data=grant, headers={"Authorization": "Bearer x"}, error="invalid_client")
    await ask(market, 401, data=grant, headers={"Authorization": "Basic !"}, error="invalid_client")
    other = basic(buyer.client_id, buyer.secret)
    await ask(market, 401, data=grant | {"client_id": "cli_other"}, headers=other, error="invalid_client")
    plain = {"Content-Type": "application/x-www-form-urlencoded"}
    for raw in (b"grant_type=a&grant_type=b", b"\xff\xfe", b"a=%ff", b"&".join([b"a=1"] * 30)):
        await ask(market, 400, data=raw, headers=plain, error="invalid_request")
    async with market.http.post(f"{TOKEN}?client_secret=x", data=good) as answer:
        assert answer.status == 422  # nothing secret belongs into an address


async def test_a_flood_of_wrong_secrets_is_slowed_down(market):
    buyer = await market.buyer()
    for _ in range(20):
        await ask(market, 401, data=form(buyer, client_secret="evs_wrong"), error="invalid_client")
    await ask(market, 429, data=form(buyer, client_secret="evs_wrong"), error="slow_down")
    await market.get("/brp/v1/me", buyer)  # who is at work goes on


async def test_a_good_secret_passes_whoever_guesses_at_its_address(market):
    buyer, other = await market.buyer(), await market.buyer("another")
    for _ in range(25):
        async with market.http.post(TOKEN, data=form(buyer, client_secret="evs_wrong")) as answer:
            assert answer.status in {401, 429}
    assert int(answer.headers["Retry-After"]) > 60
    for good in (buyer, other):
        await ask(market, 200, data=form(good))


async def test_a_flood_of_tokens_is_slowed_down(market):
    market.desk.token_limit._monotonic = lambda: 0.0  # no time passes
    buyer = await market.buyer()
    for _ in range(59):  # the buyer has got one
        await ask(market, 200, data=form(buyer))
    await ask(market, 429, data=form(buyer), error="slow_down")
    await ask(market, 200, data=form(await market.buyer("another")))
    await market.get("/brp/v1/me", buyer)


async def test_a_secret_is_replaced_and_a_client_revoked(market):
    buyer = await market.buyer()
    made = await market.post(f"/v1/brp-clients/{buyer.client_id}/secret", "admin")
    await ask(market, 401, data=form(buyer), error="invalid_client")
    buyer.secret = made["secret"]
    await ask(market, 200, data=form(buyer))
    await market.get("/brp/v1/me", buyer)
    await market.post(f"/v1/brp-clients/{buyer.client_id}/revocation", "admin", status=204)
    await market.get("/brp/v1/me", buyer, 401)
    await ask(market, 401, data=form(buyer), error="invalid_client")
    await market.post(f"/v1/brp-clients/{buyer.client_id}/secret", "admin", status=409)
    actions = [(who, action) for who, action, subject in await market.audited() if subject == buyer.client_id]
    assert actions == [
        ("test", "create brp client"), ("admin", "rotate brp secret"), ("admin", "revoke brp client"),
    ]  # fmt: skip


def _tampered(token):
    """Return what people make of a token that they have."""
    head, claims, mac = token.split(".")

    def pack(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    said = json.loads(base64.urlsafe_b64decode(claims + "=="))
    yield f"{head}.{pack(said | {'scope': 'flex:order'})}.{mac}"
    yield f"{pack(header | {'alg': 'none'})}.{claims}."
    yield f"{pack(header | {'alg': 'none'})}.{claims}.{mac}"
    yield f"{pack(header | {'kid': 'other'})}.{claims}.{mac}"
    yield f"{pack(header | {'kid': ['x']})}.{claims}.{mac}"
    yield f"{pack(header | {'crit': ['x'], 'x': 1})}.{claims}.{mac}"
    yield f"{pack([])}.{claims}.{mac}"
    yield f"{head}.{claims}"
    yield f"{head}.{claims}.{mac}.{mac}"
    yield f"{head}.{claims}.AAAA"
    yield token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
    yield token + "x" * 5000
    yield "[" * 3000
    yield "evl_" + "a" * 43
    public = {"kty": "oct", "k": base64.urlsafe_b64encode(b"public key as a secret").decode().rstrip("=")}
    yield jwt.encode({"alg": "HS256", "typ": "at+jwt", "kid": header["kid"]}, said, OctKey.import_key(public))
    own = ECKey.generate_key("P-256")
    yield jwt.encode(
        {"alg": "ES256", "typ": "at+jwt", "kid": header["kid"], "jwk": own.as_dict(private=False)}, said, own
    )
    yield jwt.encode({"alg": "RS256", "typ": "at+jwt", "kid": header["kid"]}, said, RSAKey.generate_key(2048))


async def test_tampered_tokens_are_refused(market):
    buyer = await market.buyer(scopes=("flex:read",))
    good = buyer.token
    for token in _tampered(good):
        market.desk.failures._failures.clear()
        buyer.token = token
        await market.get("/brp/v1/me", buyer, 401)
    buyer.token = good
    await market.get("/brp/v1/me", buyer)


async def test_a_flood_of_wrong_tokens_is_slowed_down(market):
    buyer = await market.buyer()
    good, buyer.token = buyer.token, "a.b.c"
    for _ in range(20):
        await market.get("/brp/v1/me", buyer, 401)
    problem, headers = await market.exchange("GET", "/brp/v1/me", 429, who=buyer)
    assert problem["type"].endswith("too-many-requests")
    assert int(headers["Retry-After"]) > 0
    buyer.token = good
    await market.get("/brp/v1/me", buyer)


async def test_an_operators_token_is_no_brps_and_the_other_way_round(market):
    buyer = await market.buyer()
    for role in market.operators:
        await market.get("/brp/v1/me", role, 401)
    await market.get("/v1/brps", buyer, 401)
    await market.get("/brp/v1/me", None, 401)


class Hands:
    """Clocks that a test moves."""

    def __init__(self):
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.s = 0.0

    def utcnow(self):
        return self.now

    def monotonic(self):
        return self.s

    def later(self, seconds):
        self.now += timedelta(seconds=seconds)
        self.s += seconds

    def tokens(self, db, issuer="urn:evenload:a"):
        return Tokens(db, issuer, "brp", utcnow=self.utcnow, monotonic=self.monotonic)


async def test_a_token_ends_with_its_time(market):
    hands = Hands()
    signer = hands.tokens(market.world.db)
    token = await signer.sign("cli_1", ["flex:read"])
    assert (await signer.read(token)).scopes == {"flex:read"}
    hands.later(899)
    await signer.read(token)
    hands.later(1)
    with pytest.raises(InvalidError):
        await signer.read(token)


async def test_a_token_of_another_deployment_or_of_the_future_is_refused(market):
    hands = Hands()
    ours, theirs = hands.tokens(market.world.db), hands.tokens(market.world.db, "urn:evenload:b")
    with pytest.raises(InvalidError):
        await ours.read(await theirs.sign("cli_1", ["flex:read"]))
    token = await ours.sign("cli_1", ["flex:read"])
    hands.later(-120)
    with pytest.raises(InvalidError):
        await ours.read(token)


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "other"}, {"aud": ["urn:evenload:a:brp"]}, {"iss": None}, {"sub": 1}, {"exp": "soon"}, {"exp": 9e99},
        {"scope": ["flex:read"]}, {"cnf": {}}, {"cnf": "x"}, {"cnf": {"x5t#S256": 1}}, {"iat": None},
    ],
)  # fmt: skip
async def test_claims_of_another_shape_are_refused_even_if_signed_here(market, change):
    hands = Hands()
    reader = hands.tokens(market.world.db)
    kid, key = await reader._signing_key()
    now = int(hands.now.timestamp())
    claims = {"iss": reader.issuer, "aud": reader.audience, "sub": "c", "iat": now, "exp": now + 60, "scope": "x"}
    header = {"alg": "ES256", "typ": "at+jwt", "kid": kid}
    await reader.read(jwt.encode(header, claims, key.jwk))
    with pytest.raises(InvalidError):
        await reader.read(jwt.encode(header, {**claims, **change}, key.jwk))
    for kind in ("JWT", "id+jwt"):
        with pytest.raises(InvalidError):
            await reader.read(jwt.encode(header | {"typ": kind}, claims, key.jwk))


async def test_keys_are_shared_by_processes_and_replaced_in_time(market):
    hands = Hands()
    one, two = hands.tokens(market.world.db), hands.tokens(market.world.db)
    first = await one.sign("cli_1", ["flex:read"])
    assert (await two.read(first)).client_id == "cli_1"
    async with market.world.tx() as tx:
        await access_tokens.rotate_keys(tx, hands.now, who="test")
    hands.later(61)
    second = await one.sign("cli_1", ["flex:read"])
    assert second.split(".")[0] != first.split(".")[0]
    for reader in (one, two):
        await reader.read(first)
        await reader.read(second)
    hands.later(86400 * 31)
    third = await one.sign("cli_1", [])
    assert len(await market.world.rows("token_key")) == 2  # the first was deleted
    assert (await two.read(third)).scopes == frozenset()
    for token in (first, second):
        with pytest.raises(InvalidError):
            await two.read(token)


async def test_rotation_by_an_operator(market):
    buyer = await market.buyer()
    await market.post("/v1/token-keys/rotation", "admin", status=204)
    await market.get("/brp/v1/me", buyer)
    assert [who for who, action, _ in await market.audited() if action == "rotate token key"] == ["evenload", "admin"]


async def test_revoking_the_token_keys_ends_every_token_at_once(market):
    buyer = await market.buyer()
    other = Tokens(market.world.db, market.desk.tokens.issuer, "brp")  # as another request or process has it
    await other.read(buyer.token)
    await market.post("/v1/token-keys/rotation?revoke=true", "admin", status=204)
    await market.get("/brp/v1/me", buyer, status=401)
    with pytest.raises(InvalidError):
        await other.read(buyer.token)
    assert len(await market.world.rows("token_key")) == 1
    buyer.token = await market.token(buyer)
    await market.get("/brp/v1/me", buyer)


async def test_another_process_hears_that_token_keys_were_revoked(busy_market, postgresql_url):
    elsewhere = await Database.open(postgresql_url)
    try:
        other = Tokens(elsewhere, busy_market.desk.tokens.issuer, "brp")
        buyer = await busy_market.buyer()
        await other.read(buyer.token)
        heard = asyncio.Event()
        elsewhere.on_change(lambda _: heard.set())
        await busy_market.post("/v1/token-keys/rotation?revoke=true", "admin", status=204)
        async with asyncio.timeout(20):
            await heard.wait()
        with pytest.raises(InvalidError):
            await other.read(buyer.token)
    finally:
        await elsewhere.close()


async def test_strangers_tokens_do_not_reload_the_keys_each_time(market):
    hands = Hands()
    reader = hands.tokens(market.world.db)
    token = await reader.sign("c", [])
    head, *rest = token.split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "==")) | {"kid": "key_other"}
    stranger = ".".join([base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("="), *rest])
    hands.later(6)
    loads = []
    original = reader._load

    async def load():
        loads.append(hands.s)
        await original()

    reader._load = load
    for _ in range(5):
        with pytest.raises(InvalidError):
            await reader.read(stranger)
    assert loads == [6]


async def test_a_token_is_bound_to_the_certificate(market, monkeypatch):
    """The certificate is shown at the token, and wherever the token is used (RFC 8705)."""
    shown = {"now": "t" * 43}
    monkeypatch.setattr(oauth, "peer_thumbprint", lambda _request: shown["now"])
    market.gate._peer = lambda _request: shown["now"]
    buyer = await market.buyer(certificate="t" * 43)
    token = (await ask(market, 200, data=form(buyer)))["access_token"]
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["cnf"] == {"x5t#S256": "t" * 43}
    buyer.token = token
    await market.get("/brp/v1/me", buyer)
    for other in ("u" * 43, None):
        shown["now"] = other
        await market.get("/brp/v1/me", buyer, 401)
        await ask(market, 401, data=form(buyer), error="invalid_client")


async def test_a_missing_scope_is_named(market):
    buyer = await market.buyer(scopes=("flex:read", "webhook:manage"))
    await market.get("/brp/v1/webhook-subscriptions", buyer)
    buyer.token = await market.token(buyer, "flex:read")
    problem, headers = await market.exchange("GET", "/brp/v1/webhook-subscriptions", 403, who=buyer)
    assert "webhook:manage" in problem["detail"]
    assert 'error="insufficient_scope", scope="webhook:manage"' in headers["WWW-Authenticate"]


async def test_scopes_taken_away_end_with_the_clients(market):
    """A token has never more than its client has at the moment."""
    buyer = await market.buyer(scopes=("webhook:manage",))
    async with market.world.tx() as tx:
        await tx.conn.execute(tables.api_client.update().values(scopes=["flex:read"]))
    await market.get("/brp/v1/webhook-subscriptions", buyer, 403)


async def test_the_store_has_no_secret_and_no_token(market):
    buyer = await market.buyer()
    dump = repr(await market.world.dump())
    assert buyer.secret not in dump
    assert buyer.token not in dump


def test_a_thumbprint_is_that_of_the_certificate():
    assert api_clients.thumbprint(b"") == "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    for text in ("", "x", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----", "x" * 30_000):
        with pytest.raises(InvalidError):
            api_clients.thumbprint_of_pem(text)


async def test_the_cache_of_clients_is_short(market):
    """A client revoked by another process is refused ten seconds later."""
    s = {"now": 0.0}
    gate = gate_module.TokenGate(market.world.db, market.desk.tokens, market.desk.failures, monotonic=lambda: s["now"])
    buyer = await market.buyer()
    grant = await market.desk.tokens.read(buyer.token)
    assert (await gate._client(grant)).id == buyer.client_id
    async with market.world.tx() as tx:
        await api_clients.revoke(tx, buyer.client_id, datetime.now(UTC), who="another process")
    assert (await gate._client(grant)).revoked_at is None
    s["now"] = 10.0
    with pytest.raises(Exception, match="revoked"):
        await gate._client(grant)
