"""A VTN that is faulty while it is tested: our own one behind a proxy that changes some answers on their way."""

import itertools
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from conformance.checks import CHECKS
from conformance.dialogues import DIALOGUES
from conformance.exchange import Answer, Exchange, Request
from conformance.profile import Profile
from conformance.runner import judged, play
from conformance.verdict import Verdict
from conformance.wire import Access, Line, tls_context
from core.clock import machine_now
from support.mutations import code, response, status, text

_SEEDS = itertools.count(1000)
"""A VTN takes a name for a VEN only once."""


class Faulty:
    """An operator whose VENs speak to the VTN through a proxy without TLS, which has one fault."""

    def __init__(self, operator, access, change, ask):
        self._operator = operator
        self._access = access
        self._change = change
        self._ask = ask
        self._lines = {}
        self._spoke = None

    def __getattr__(self, name):
        return getattr(self._operator, name)

    def provide(self, name, *, rsa=False):
        identity = self._operator.provide(name, rsa=rsa)
        self._lines[identity.known_as] = Line(self._access, tls_context(self._access, identity.credentials))
        return identity

    def answer(self, request):
        """Hand a request on; what it asks decides whether the answer is changed."""
        headers = tuple((name, value) for name, value in request.headers if name.lower() != "host")
        named = (line for ven_id, line in self._lines.items() if ven_id.encode() in request.body)
        newest = list(self._lines.values())[-1]
        is_new = self._spoke is None or b"oadrCreatePartyRegistration" in request.body
        self._spoke = line = next(named, newest if is_new else self._spoke)
        sent = replace(request, headers=(("Host", line.host), *headers))
        outcome = line.exchange(sent)
        exchange = Exchange("", "", sent, outcome.answer, outcome.trouble, machine_now())
        return (self._change(exchange) if self._ask in request.body else exchange).answer


@contextmanager
def _proxy(faulty):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = faulty.answer(Request(self.command, self.path, tuple(self.headers.items()), body))
            self.send_response_only(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)
            self.close_connection = True

        do_GET = do_POST = do_PUT = do_DELETE = _pass  # noqa: N815  as http.server calls them

        def log_message(self, *_arguments):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/OpenADR2/Simple/2.0b"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _let_in(exchange):
    body = response("OK").encode()
    return replace(exchange, answer=Answer(200, (("Content-Length", str(len(body))),), body))


def _failed(setting, dialogue, change, ask):
    faulty = Faulty(setting.operator, setting.access, change, ask)
    with _proxy(faulty) as url:
        through = replace(setting, access=Access(url), operator=faulty, seed=next(_SEEDS))
        transcript = play(dialogue, DIALOGUES[dialogue], through)
    assert transcript.broke == ""
    checks = [check for check in CHECKS if check.dialogue == dialogue]
    results = judged(checks, [transcript], Profile())
    return {result.rule for result in results if result.verdict is Verdict.FAIL}


def test_the_proxy_itself_is_no_fault(setting):
    assert _failed(setting, "registration", lambda exchange: exchange, b"") == set()


@pytest.mark.parametrize(
    ("rule", "dialogue", "change", "ask"),
    [
        ("RG-02", "registration", text("2.0b</oadr:oadrProfileName>", "2.0a</oadr:oadrProfileName>"), b"oadrQuery"),
        ("RG-03", "registration", code(459), b"no such VEN</ei:venID><oadr:oadrProfileName>"),
        ("RG-14", "unregistered", code(452), b"oadrCreateOpt"),
        ("TR-05", "transport", status(500), b"no such VEN"),
        ("GN-12", "invalid", status(200), b"oadrSurprise"),
        ("SE-08", "signatures", _let_in, b'oadr:Id="another"'),
        ("SE-09", "signatures", text("<ds:Signature .*</ds:Signature>", ""), b"oadrCreateReport"),
    ],
)
def test_a_live_fault_is_caught(setting, rule, dialogue, change, ask):
    assert _failed(setting, dialogue, change, ask) == {rule}
