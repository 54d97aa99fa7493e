"""The operator's client against a real server on loopback."""

import asyncio
import json
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core.errors import InvalidError, UnavailableError
from evenload.client import OperatorClient, RequestError


class Script:
    """A server that answers as it is told and remembers what it was asked."""

    def __init__(self):
        self.answers = []
        self.asked = []
        self.pauses = []

    async def handle(self, request):
        self.asked.append((request.method, request.path_qs, await request.text(), request.headers))
        answer = self.answers.pop(0)
        if answer is None:
            request.transport.abort()
            return web.Response()
        return answer

    async def sleep(self, seconds):
        self.pauses.append(seconds)


def problem(status, headers=None, **more):
    document = {"type": "urn:evenload:problem:x", "title": "T", "status": status, "detail": "It is so.", **more}
    text = json.dumps(document)
    return web.Response(status=status, text=text, content_type="application/problem+json", headers=headers)


@pytest.fixture
async def script(aiohttp_server):
    script = Script()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", script.handle)
    server = await aiohttp_server(app)
    script.base = str(server.make_url("/v1"))
    return script


@pytest.fixture
async def client(script):
    async with OperatorClient(script.base, "evl_token", sleep=script.sleep) as client:
        yield client


async def test_get_sends_the_token_and_a_clean_query(script, client):
    script.answers = [web.json_response({"a": 1})]
    when = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert await client.get("/vens", {"since": when, "cold": True, "tag": ["a", "b"], "none": None, "q": "a&b+c"}) == {
        "a": 1
    }
    ((method, path, _, headers),) = script.asked
    assert method == "GET"
    assert path == "/v1/vens?since=2026-01-31T12:00:00%2B00:00&cold=true&tag=a&tag=b&q=a%26b%2Bc"
    assert headers["Authorization"] == "Bearer evl_token"


async def test_the_other_methods(script, client):
    script.answers = [
        web.json_response({"id": "x"}, status=201),
        web.json_response({"id": "y"}),
        web.json_response(None),
        web.Response(status=204),
        web.json_response({}),
    ]
    assert await client.post("/vens", {"name": "x"}) == {"id": "x"}
    assert await client.patch("/vens/x", {"name": "y"}, if_match='"tag"') == {"id": "y"}
    assert await client.put("/vens/x", {"name": "y"}) is None
    assert await client.delete("/vens/x") is None
    assert await client.post("/vens/x/enrolment-codes") == {}
    assert [(one[0], one[2]) for one in script.asked] == [
        ("POST", '{"name": "x"}'),
        ("PATCH", '{"name": "y"}'),
        ("PUT", '{"name": "y"}'),
        ("DELETE", ""),
        ("POST", ""),
    ]
    assert script.asked[1][3]["If-Match"] == '"tag"'


async def test_an_id_that_people_type_leads_nowhere_else(script, client):
    script.answers = [web.json_response(1)]
    await client.get("/vens/a?b=#c d")
    assert script.asked[0][1] == "/v1/vens/a%3Fb%3D%23c%20d"
    for path in ("/vens/../principals", "/vens/.", "vens"):
        with pytest.raises(InvalidError, match="no path of the API"):
            await client.get(path)
    assert len(script.asked) == 1


async def test_a_problem_document_becomes_an_error_with_text_and_next_step(script, client):
    faults = [{"pointer": "/intervals/0/value", "detail": "Too\x1b[31m hot."}, {"parameter": "limit", "detail": "No."}]
    script.answers = [problem(401, errors=faults, request_id="req_1")]
    with pytest.raises(RequestError) as caught:
        await client.post("/vens", {})
    error = caught.value
    assert (error.status, error.kind, error.request_id) == (401, "urn:evenload:problem:x", "req_1")
    assert str(error).splitlines() == [
        "It is so.",
        "  /intervals/0/value: Too?[31m hot.",
        "  limit: No.",
        "  Pass a valid token with --token or EVENLOAD_TOKEN.",
    ]


@pytest.mark.parametrize("document", ["[]", "{}", '{"errors": 5}', '{"errors": [5]}', "nonsense", "[" * 100_000])
async def test_a_malformed_problem_document_is_an_error_all_the_same(script, client, document):
    script.answers = [web.Response(status=404, text=document, content_type="application/problem+json")]
    with pytest.raises((RequestError, UnavailableError), match="404"):
        await client.get("/vens")


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(text="<html>", content_type="text/html"),
        lambda: web.Response(text="{", content_type="application/json"),
        lambda: web.Response(status=302, headers={"Location": "http://192.0.2.1/steal"}),
    ],
)
async def test_what_is_not_our_api_is_said_so(script, client, answer):
    script.answers = [answer()]
    with pytest.raises(UnavailableError, match="really the VTN's operator API"):
        await client.get("/vens")
    assert len(script.asked) == 1


async def test_get_is_tried_again_with_growing_pauses(script, client):
    script.answers = [None, problem(503, {"Retry-After": "7"}), problem(502), web.json_response("here")]
    assert await client.get("/vens") == "here"
    assert script.pauses == [0.5, 7.0, 2.0]


async def test_get_gives_up_after_four_times_or_a_long_wait(script, client):
    script.answers = [problem(503) for _ in range(4)]
    with pytest.raises(RequestError, match="It is so"):
        await client.get("/vens")
    assert (len(script.asked), len(script.pauses)) == (4, 3)
    script.answers = [problem(429, {"Retry-After": "3600"})]
    with pytest.raises(RequestError):
        await client.get("/vens")
    assert len(script.pauses) == 3


@pytest.mark.parametrize("answer", [None, 503])
async def test_nothing_but_get_is_sent_twice(script, client, answer):
    for send in (lambda: client.post("/x", {}), lambda: client.patch("/x", {}), lambda: client.delete("/x")):
        script.answers = [None if answer is None else problem(answer)]
        script.asked = []
        with pytest.raises((UnavailableError, RequestError)) as caught:
            await send()
        assert len(script.asked) == 1
        assert answer is not None or "look before you repeat" in str(caught.value)
    assert script.pauses == []


async def test_listings_are_read_to_the_end(script, client):
    script.answers = [
        web.json_response({"items": [1, 2], "next": "c1"}),
        web.json_response({"items": [3], "next": "c2"}),
        web.json_response({"items": [], "next": None}),
    ]
    assert await client.all("/vens", {"limit": 2}) == [1, 2, 3]
    assert [one[1] for one in script.asked] == [
        "/v1/vens?limit=2",
        "/v1/vens?limit=2&cursor=c1",
        "/v1/vens?limit=2&cursor=c2",
    ]


async def test_a_listing_that_never_ends_or_is_none(script, client):
    script.answers = [web.json_response({"items": [1], "next": "c"}) for _ in range(3)]
    with pytest.raises(UnavailableError, match="again and again"):
        await client.all("/vens")
    script.answers = [web.json_response([1])]
    with pytest.raises(UnavailableError, match="not a listing"):
        await client.all("/vens")


async def test_an_answer_without_bound_is_cut(script, client, monkeypatch):
    monkeypatch.setattr("evenload.client._MAX_ANSWER_BYTES", 1000)
    script.answers = [web.json_response("x" * 2000)]
    with pytest.raises(InvalidError, match="ask for less"):
        await client.get("/vens")


async def test_a_vtn_that_is_not_there(unused_tcp_port, script):
    async with OperatorClient(f"http://127.0.0.1:{unused_tcp_port}", "t", sleep=script.sleep) as client:
        with pytest.raises(UnavailableError, match="Is the VTN running"):
            await client.get("/vens")
        assert script.pauses == [0.5, 1.0, 2.0]
        with pytest.raises(UnavailableError, match="Is the VTN running"):
            await client.post("/vens", {})


async def test_a_vtn_that_does_not_answer_in_time(aiohttp_server):
    release = asyncio.Event()

    async def wait(request):
        await release.wait()
        return web.Response()

    app = web.Application()
    app.router.add_post("/x", wait)
    server = await aiohttp_server(app)
    async with OperatorClient(str(server.make_url("")), "t", timeout_s=0.1) as client:
        with pytest.raises(UnavailableError, match="timed out"):
            await client.post("/x")
    release.set()


@pytest.mark.parametrize(
    "address",
    [
        "localhost:8444",
        "",
        "ftp://localhost",
        "https://",
        "https://a b",
        "https://u:p@localhost",
        "https://x/?a=b",
        "https://x:99999",
    ],
)
def test_what_is_no_address(address):
    with pytest.raises(InvalidError, match="is not an address"):
        OperatorClient(address, "t")


def test_the_token_does_not_go_over_plain_http():
    with pytest.raises(InvalidError, match="use https"):
        OperatorClient("http://vtn.example", "t")
    for address in ("http://localhost:1", "http://127.0.0.1", "http://[::1]:1", "https://vtn.example"):
        OperatorClient(address, "t")


@pytest.mark.parametrize("token", ["", " ", "a\nb", "ä", "a\r\nX: y"])
def test_what_is_no_token(token):
    with pytest.raises(InvalidError, match="not a token"):
        OperatorClient("https://localhost", token)


def test_a_ca_that_is_none(tmp_path):
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    for path in (tmp_path / "missing.pem", empty):
        with pytest.raises(InvalidError, match="CA certificates"):
            OperatorClient("https://localhost", "t", ca=path)


async def test_the_certificate_must_be_trusted(aiohttp_server, pem, script):
    async def hello(request):
        return web.json_response("hello")

    app = web.Application()
    app.router.add_get("/x", hello)
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(pem)
    server = await aiohttp_server(app, ssl=served)
    address = f"https://127.0.0.1:{server.port}"
    async with OperatorClient(address, "t", ca=pem) as client:
        assert await client.get("/x") == "hello"
    async with OperatorClient(address, "t", sleep=script.sleep) as client:
        with pytest.raises(InvalidError, match="--ca"):
            await client.get("/x")
    assert script.pauses == []
    async with OperatorClient(f"http://127.0.0.1:{server.port}", "t", sleep=script.sleep) as client:
        with pytest.raises(UnavailableError, match="write https://"):
            await client.get("/x")


async def test_it_is_a_context_manager():
    with pytest.raises(TypeError, match="async with"):
        await OperatorClient("https://localhost", "t").get("/x")


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1 with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1)
    )
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = built.add_extension(names, critical=False).sign(key, hashes.SHA256())
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


async def test_a_file_is_read_as_the_type_that_was_asked_for(script, client):
    script.answers = [web.Response(status=503), web.Response(body=b"a,b\r\n", content_type="text/csv")]
    assert await client.file("/statements/stm_1", "text/csv") == b"a,b\r\n"
    assert script.asked[1][3]["Accept"] == "text/csv"
    script.answers = [problem(404)]
    with pytest.raises(RequestError, match="It is so"):
        await client.file("/statements/stm_1", "text/csv")
    for answer in (web.json_response({}), web.Response(status=204), web.Response(text="x", content_type="text/html")):
        script.answers = [answer]
        with pytest.raises(UnavailableError, match="without text/csv"):
            await client.file("/statements/stm_1", "text/csv")
