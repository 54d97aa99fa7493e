"""The kit at small VENs that look at the servers that they call, or do not: what it says of them, from end to end."""

import ssl
import threading
import warnings

import pytest

from conformance import judge
from conformance import templates as t
from conformance.exchange import Request
from conformance.listener import Place
from conformance.profile import Profile
from conformance.runner import judged
from conformance.stage import Timeline
from conformance.vens.checks import CHECKS
from conformance.vens.desk import Rules
from conformance.vens.dialogues import DIALOGUES
from conformance.vens.runner import play
from conformance.verdict import Verdict
from conformance.wire import Access, Line
from core.clock import machine_now
from evenload.demo.processes import free_port
from support.pki import make_pki

_PERIOD_S = 0.2


class SmallVen:
    """Registers, offers nothing, and polls, until it is ended; with `forgiving` it registers again when it has to."""

    def __init__(self, base, context, *, forgiving=True):
        self._line = Line(Access(f"{base}/OpenADR2/Simple/2.0b"), context)
        self._forgiving = forgiving
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _live(self):
        ven_id = None
        while not self._over.wait(_PERIOD_S):
            if ven_id is None:
                ven_id = self._register()
                continue
            answer = self._post(t.poll(ven_id))
            if answer is not None and answer.code == judge.NOT_REGISTERED and self._forgiving:
                ven_id = None

    def _register(self):
        answer = self._post(t.register())
        if answer is None or (ven_id := answer.text("ei:venID")) is None:
            return None
        self._post(t.register_report(ven_id))
        self._post(t.request_event(ven_id))
        return ven_id

    def _post(self, message):
        length = ("Content-Length", str(len(message.body)))
        headers = (("Host", "kit"), ("Content-Type", "application/xml"), length, ("Connection", "close"))
        target = f"/OpenADR2/Simple/2.0b/{message.service}"
        answer = self._line.exchange(Request("POST", target, headers, message.body)).answer
        return judge.parse(answer.body) if answer is not None and answer.body else None


def _played(place, scheme, context, *names, **how):
    base = f"{scheme}://127.0.0.1:{place.port}"
    rules = Rules(poll_s=1, patience_s=10.0, first_s=30.0)
    with SmallVen(base, context, **how):
        world = Timeline(machine_now(), machine_now())
        played = play(rules, place, world, dialogues={name: DIALOGUES[name] for name in ("joining", *names)})
    return {result.rule: result for result in judged(CHECKS, played, Profile())}


@pytest.fixture
def place(tmp_path):
    make_pki(tmp_path).issue("home")
    ca = tmp_path / "ca"
    return Place(
        "127.0.0.1",
        free_port(),
        tmp_path / "server.pem",
        tmp_path / "server.key",
        ca / "ca.pem",
        authority_key=ca / "ca-key.pem",
    )


def _context(place, *, lax):
    context = ssl.create_default_context(cafile=place.trust)
    context.load_cert_chain(place.certificate.with_name("home.pem"), place.certificate.with_name("home.key"))
    if lax:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:eNULL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
    return context


@pytest.mark.parametrize("lax", [True, False])
def test_who_talks_to_any_server_is_caught_and_who_looks_is_not(place, lax):
    results = _played(place, "https", _context(place, lax=lax), "certificates")
    wanted = Verdict.FAIL if lax else Verdict.PASS
    assert {rule: results[rule].verdict for rule in ("SE-01", "SE-04", "SE-05")} == dict.fromkeys(
        ("SE-01", "SE-04", "SE-05"), wanted
    )
    assert results["SE-02"].verdict is Verdict.PASS


@pytest.mark.parametrize("forgiving", [True, False])
def test_who_does_not_register_with_a_vtn_that_forgot_it_is_caught(forgiving):
    results = _played(Place(port=free_port()), "http", None, "outages", forgiving=forgiving)
    assert results["RG-12"].verdict is (Verdict.PASS if forgiving else Verdict.FAIL)
    if not forgiving:
        assert results["RG-12"].reason == "the VEN does not register with a VTN that has forgotten it"
        assert results["RG-12"].exchanges
