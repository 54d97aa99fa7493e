"""The kit at small VENs that look at the servers that they call, or do not: what it says of them, from end to end."""

import ssl
import warnings

import pytest

from conformance.listener import Place
from conformance.profile import Profile
from conformance.runner import judged
from conformance.stage import Timeline
from conformance.vens.checks import CHECKS
from conformance.vens.desk import Rules
from conformance.vens.dialogues import DIALOGUES
from conformance.vens.runner import play
from conformance.verdict import Verdict
from core.clock import machine_now
from evenload.demo.processes import free_port
from support.pki import make_pki
from support.small_vens import SmallVen


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
    results = _played(Place(port=free_port()), "http", None, "renewing", "outages", "leaving", forgiving=forgiving)
    assert results["RG-12"].verdict is (Verdict.PASS if forgiving else Verdict.FAIL)
    if not forgiving:
        assert results["RG-12"].reason == "the VEN does not register with a VTN that has forgotten it"
        assert results["RG-12"].exchanges
    for rule in ("RG-10", "RG-11", "RG-16"):  # it answers no cancellation, be it known again or not
        assert results[rule].verdict is Verdict.FAIL, results[rule]
