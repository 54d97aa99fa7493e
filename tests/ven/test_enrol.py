"""Enrolment from the gateway's side, against an operator listener of our own making."""

import hashlib
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from certs.authority import Authority
from certs.provisioning import Identity
from core.errors import ConflictError, ForbiddenError, InvalidError, UnavailableError
from openadr.fingerprint import fingerprint_of_pem, sha256_of_pem
from ven.enrol import enrol, fetch_ca


@pytest.fixture
def listener(tmp_path):
    """Return (url, codes, seen): a listener that redeems each code once with a real authority."""
    authority = Authority.create(tmp_path / "authority", "test")
    codes, seen = {"GOOD-CODE"}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.reply(200 if self.path == "/v1/ca.pem" else 404, authority.ca_pem)

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((self.path, body))
            if body["code"] == "BROKEN":
                self.reply(503, {"title": "busy"})
            elif body["code"] == "NONSENSE":
                self.reply(201, ["no bundle"])
            elif body["code"] not in codes:
                self.reply(403, {"title": "Forbidden", "detail": "The code is used up."})
            else:
                codes.remove(body["code"])
                issued = authority.sign_request(body["csr"], "home")
                self.reply(201, bundle(issued.chain_pem, authority.ca_pem))

        def reply(self, status, body):
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1", codes, seen
    server.shutdown()
    thread.join()
    server.server_close()


def bundle(certificate, ca):
    return {
        "ven_id": "ven-1",
        "ven_name": "home",
        "vtn_id": "vtn",
        "vtn_url": "https://127.0.0.1:8443/OpenADR2/Simple/2.0b",
        "certificate": certificate,
        "ca": ca,
        "fingerprint": fingerprint_of_pem(certificate.encode()),
    }


def test_a_code_becomes_an_identity_and_the_key_stays_here(listener, tmp_path):
    url, _, seen = listener
    identity = enrol(" GOOD-CODE ", url, None, tmp_path / "identity", "home")
    assert identity == Identity.load(tmp_path / "identity")
    assert (identity.ven_id, identity.vtn_id) == ("ven-1", "vtn")
    ((path, body),) = seen
    assert path == "/v1/enrolments"
    assert set(body) == {"code", "csr"}
    assert "PRIVATE KEY" not in json.dumps(body)


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
def test_the_address_may_end_with_v1_or_not(listener, tmp_path, ending):
    url, _, seen = listener
    enrol("GOOD-CODE", url.removesuffix("/v1") + ending, None, tmp_path / "identity", "home")
    assert [path for path, _ in seen] == ["/v1/enrolments"]


def test_the_authority_is_fetched_if_it_has_the_fingerprint_that_was_told(listener, tmp_path):
    pem = (tmp_path / "authority" / "ca.pem").read_text()
    sha256 = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest().hex(":").upper()
    assert sha256 == sha256_of_pem(pem.encode())
    for number, told in enumerate((sha256, sha256.lower(), sha256.replace(":", ""))):
        fetch_ca(listener[0], told, tmp_path / f"{number}.pem")
        assert (tmp_path / f"{number}.pem").read_text() == pem
    for wrong in (sha256[:-1] + ("0" if sha256[-1] != "0" else "1"), "", sha256[:29]):
        with pytest.raises(InvalidError, match="do not enrol there"):
            fetch_ca(listener[0], wrong, tmp_path / "wrong.pem")
    with pytest.raises(ConflictError):
        fetch_ca(listener[0], sha256, tmp_path / "0.pem")
    with pytest.raises(UnavailableError):
        fetch_ca("http://127.0.0.1:9", sha256, tmp_path / "wrong.pem")
    with pytest.raises(InvalidError, match="https"):
        fetch_ca("ftp://127.0.0.1", sha256, tmp_path / "wrong.pem")
    assert not (tmp_path / "wrong.pem").exists()


def test_a_refused_code_says_why_and_leaves_nothing(listener, tmp_path):
    url, _, _ = listener
    with pytest.raises(ForbiddenError, match="used up"):
        enrol("OLD-CODE", url, None, tmp_path / "identity", "home")
    assert [one.name for one in tmp_path.iterdir()] == ["authority"]


def test_a_vtn_that_is_busy_can_be_asked_again(listener, tmp_path):
    url, codes, _ = listener
    with pytest.raises(UnavailableError, match="busy"):
        enrol("BROKEN", url, None, tmp_path / "identity", "home")
    assert codes == {"GOOD-CODE"}
    enrol("GOOD-CODE", url, None, tmp_path / "identity", "home", "rsa")


def test_an_identity_is_replaced_only_on_demand(listener, tmp_path):
    url, codes, _ = listener
    enrol("GOOD-CODE", url, None, tmp_path / "identity", "home")
    codes.add("SECOND")
    with pytest.raises(ConflictError):
        enrol("SECOND", url, None, tmp_path / "identity", "home")
    assert codes == {"SECOND"}  # the code was not spent on it
    enrol("SECOND", url, None, tmp_path / "identity", "home", replace=True)


def test_an_answer_that_is_no_enrolment_is_refused(listener, tmp_path):
    with pytest.raises(InvalidError, match="enrolment"):
        enrol("NONSENSE", listener[0], None, tmp_path / "identity", "home")


def test_nobody_there(tmp_path):
    with pytest.raises(UnavailableError, match="cannot be reached"):
        enrol("X", "http://127.0.0.1:9", None, tmp_path / "identity", "home")


@pytest.mark.parametrize("url", ["http://example.com", "ftp://127.0.0.1", "example.com"])
def test_a_code_never_travels_unprotected(tmp_path, url):
    with pytest.raises(InvalidError, match="https"):
        enrol("X", url, None, tmp_path / "identity", "home")


def test_a_ca_file_that_is_none(tmp_path):
    (tmp_path / "ca.pem").write_text("hello")
    with pytest.raises(InvalidError, match=r"ca\.pem"):
        enrol("X", "https://127.0.0.1:9", tmp_path / "ca.pem", tmp_path / "identity", "home")
