import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from aiohttp import ClientPayloadError, ClientSession, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from core.errors import InvalidError
from web.api import Api
from web.auth import Role
from web.server import AUTHENTICATOR, HttpMetrics, make_app, start


@pytest.mark.parametrize(
    ("how", "status", "kind"),
    [
        ("invalid", 422, "invalid"),
        ("not-found", 404, "not-found"),
        ("conflict", 409, "conflict"),
        ("forbidden", 403, "forbidden"),
        ("unavailable", 503, "unavailable"),
        ("internal", 500, "internal"),
    ],
)
async def test_errors_become_problem_documents(toy, how, status, kind):
    response = await toy.client.get(f"/fail/{how}")
    document = await response.json(content_type="application/problem+json")
    assert response.status == document["status"] == status
    assert document["type"] == f"urn:evenload:problem:{kind}"
    assert document["title"]
    assert document["detail"]
    assert document["request_id"] == response.headers["X-Request-Id"]
    assert ("Retry-After" in response.headers) == (status == 503)


async def test_the_unexpected_is_logged_once_and_tells_nothing(toy):
    with capture_logs() as logs:
        response = await toy.client.get("/fail/internal")
    assert "hunter2" not in await response.text()
    failures = [entry for entry in logs if entry["log_level"] == "error"]
    assert [entry["request_id"] for entry in failures] == [response.headers["X-Request-Id"]]


async def test_unknown_address_and_wrong_method(toy):
    response = await toy.client.get("/nothing")
    assert (response.status, response.content_type) == (404, "application/problem+json")
    response = await toy.client.post("/kettles/k1", json={})
    assert (response.status, response.content_type) == (405, "application/problem+json")
    assert response.headers["Allow"] == "DELETE,GET,HEAD,PATCH,PUT"
    assert (await toy.client.options("/kettles")).status == 405


async def test_a_redirect_stays_a_redirect(toy):
    response = await toy.client.get("/fail/moved", allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (303, "/double")
    assert toy.registry.get_sample_value("evenload_http_requests_total", {"operation": "fail", "status": "303"}) == 1


async def test_every_answer_has_an_id_and_the_security_headers(toy):
    for path in ("/double?number=1", "/nothing", "/fail/internal", "/health", "/openapi.json", "/stream"):
        headers = (await toy.client.get(path)).headers
        assert headers["X-Request-Id"].startswith("req_")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "Server" not in headers
        assert headers["Cache-Control"] in {"no-store", "private, no-cache"}
        assert "Strict-Transport-Security" not in headers


@pytest.mark.parametrize(
    ("given", "kept"), [("trace-0123456789", True), ("x", False), ("a b" * 5, False), ("é" * 9, False)]
)
async def test_the_callers_request_id_is_kept_where_it_is_harmless(toy, given, kept):
    response = await toy.client.get("/double?number=1", headers={"X-Request-Id": given})
    assert (response.headers["X-Request-Id"] == given) == kept


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "[::1", "", "evil.example:80@127.0.0.2"])
async def test_another_host_is_refused(toy, host):
    response = await toy.client.get("/double?number=1", headers={"Host": host})
    assert response.status == 421
    assert response.content_type == "application/problem+json"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1:8080", "[::1]:8080"])
async def test_our_own_names_pass(toy, host):
    assert (await toy.client.get("/double?number=1", headers={"Host": host})).status == 200


async def test_a_request_without_host_or_with_two(toy):
    for hosts in ("", "Host: 127.0.0.1\r\nHost: evil.example\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", toy.client.server.port)
        writer.write(f"GET /double?number=1 HTTP/1.0\r\n{hosts}\r\n".encode())
        status = await reader.readline()
        assert status.split()[1] in {b"421", b"400"}
        writer.close()
        await writer.wait_closed()


async def test_requests_are_counted_by_operation_never_by_path(toy):
    for path in ("/kettles/a", "/kettles/b", "/nothing/1", "/nothing/2"):
        await toy.client.get(path, headers=toy.bearer(Role.VIEWER))
    response = await toy.client.get("/metrics", headers=toy.bearer(Role.VIEWER))
    assert response.status == 200
    text = await response.text()
    assert 'evenload_http_requests_total{operation="read_kettle",status="404"} 2.0' in text
    assert 'evenload_http_requests_total{operation="unmatched",status="404"} 2.0' in text
    assert 'evenload_http_request_duration_seconds_count{operation="read_kettle"} 2.0' in text
    assert "/kettles" not in text
    assert (await toy.client.get("/metrics")).status == 401
    assert (await toy.client.get("/metrics", headers=toy.bearer(Role.BRP))).status == 403


async def test_each_request_is_logged_once_without_its_token_or_query(toy):
    headers = toy.bearer(Role.VIEWER)
    with capture_logs() as logs:
        await toy.client.get("/kettles/a?secret=1", headers=headers)
    (entry,) = [entry for entry in logs if entry["event"] == "request"]
    assert entry["operation"] == "read_kettle"
    assert entry["status"] == 422
    assert entry["principal"] == "p_viewer"
    assert entry["path"] == "/kettles/a"
    assert headers["Authorization"].split()[1] not in str(logs)


async def test_health(toy):
    response = await toy.client.get("/health")
    assert (response.status, await response.json()) == (200, {"status": "ok", "ready": ["database"]})
    response = await toy.client.get("/health/live")
    assert (response.status, await response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("answer", [False, None])
async def test_what_does_not_answer_is_named_and_its_error_is_not(toy, answer):
    toy.ready["database"] = answer
    response = await toy.client.get("/health")
    assert response.status == 503
    assert "Retry-After" in response.headers
    text = await response.text()
    assert "database" in text
    assert "secret path" not in text
    assert (await toy.client.get("/health/live")).status == 200


async def test_checks_run_once_for_many_questions(aiohttp_client, monkeypatch):
    asked = 0

    async def check():
        nonlocal asked
        asked += 1

    async def hang():
        await asyncio.Event().wait()

    monkeypatch.setattr("web.health._CHECK_S", 0.01)
    app = make_app(
        Api("x", "1", []),
        None,
        hosts={"127.0.0.1"},
        metrics=HttpMetrics(CollectorRegistry()),
        ready={"a": check, "slow": hang},
    )
    client = await aiohttp_client(app)
    answers = await asyncio.gather(*(client.get("/health") for _ in range(20)))
    assert {answer.status for answer in answers} == {503}
    assert "no answer from slow" in await answers[0].text()
    assert asked == 1


async def test_half_an_answer_is_cut_off_not_ended(toy):
    with capture_logs() as logs:
        response = await toy.client.get("/stream?whole=false")
        assert response.status == 200
        with pytest.raises(ClientPayloadError):
            await response.read()
    assert len([entry for entry in logs if entry["log_level"] == "error"]) == 1
    assert (await toy.client.get("/double?number=1")).status == 200


async def test_extra_routes_and_a_shared_registry(aiohttp_client, toy):
    async def page(request: web.Request) -> web.Response:
        assert request.app[AUTHENTICATOR] is not None
        return web.Response(text="hello", headers={"Content-Security-Policy": "script-src 'self'"})

    metrics = HttpMetrics(CollectorRegistry())
    for _ in range(2):
        app = make_app(
            Api("x", "1", []),
            toy.tokens,
            hosts={"127.0.0.1"},
            metrics=metrics,
            extra=[web.get("/page", page)],
            metrics_role=None,
        )
        client = await aiohttp_client(app)
        response = await client.get("/page")
        assert await response.text() == "hello"
        assert response.headers["Content-Security-Policy"] == "script-src 'self'"
    assert 'operation="unmatched",status="200"} 2.0' in await (await client.get("/metrics")).text()


async def test_start_listens_and_plain_http_is_for_loopback_only(toy):
    def app():
        return make_app(toy.api, toy.tokens, hosts={"127.0.0.1"}, metrics=HttpMetrics(CollectorRegistry()))

    runner = await start(app(), "127.0.0.1", 0, tls=None)
    try:
        port = runner.addresses[0][1]
        async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/health") as response:
            assert response.status == 200
        with pytest.raises(OSError, match="in use"):
            await start(app(), "127.0.0.1", port, tls=None)
    finally:
        await runner.cleanup()
    for host in ("0.0.0.0", "192.0.2.1", "example.org", "::"):  # noqa: S104  refused is what is tested
        with pytest.raises(InvalidError, match="loopback only"):
            await start(app(), host, 0, tls=None)


async def test_over_tls_browsers_are_told_to_stay(toy, certificate):
    served, trusted = certificate
    app = make_app(toy.api, toy.tokens, hosts={"127.0.0.1"}, metrics=HttpMetrics(CollectorRegistry()))
    runner = await start(app, "127.0.0.1", 0, tls=served)
    try:
        port = runner.addresses[0][1]
        async with ClientSession() as session, session.get(f"https://127.0.0.1:{port}/health", ssl=trusted) as response:
            assert response.headers["Strict-Transport-Security"].startswith("max-age=")
    finally:
        await runner.cleanup()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1 as a server's and a client's TLS context."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    built = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1)
    )
    signed = built.add_extension(names, critical=False).sign(key, hashes.SHA256())
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(path)
    return served, ssl.create_default_context(cafile=path)
