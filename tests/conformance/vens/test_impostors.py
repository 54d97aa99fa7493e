"""The servers that a VEN is shown: each has the fault of its name and no other, so a refusal is for that fault."""

import ssl
import warnings

import pytest

from conformance.exchange import Answer, Request
from conformance.listener import Front, Place, Saying, serving
from conformance.vens.impostors import clients, impostors, read_authority
from conformance.wire import Access, Line
from core.errors import InvalidError
from support.pki import make_pki

_OK = Answer(200, (("Content-Length", "2"),), b"ok")
_REQUEST = Request("POST", "/x", (("Host", "a"), ("Content-Length", "0"), ("Connection", "close")), b"")
_NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME."""
_LAX = {
    "bad:foreign authority": {"verify_mode": ssl.CERT_NONE},
    "bad:another host": {},
    "bad:expired": {"verify_flags": _NO_CHECK_TIME},
    "bad:TLS 1.1": {"minimum_version": ssl.TLSVersion.TLSv1},
    "bad:no encryption": {},
}
"""What a client has to let pass to talk to them, beside host names and weak suites."""


@pytest.fixture(scope="module", params=["ec", "rsa"])
def place(request, tmp_path_factory):
    home = tmp_path_factory.mktemp(request.param)
    pki = make_pki(home)
    pki.issue("home")
    server = pki.authority.issue_server(["127.0.0.1"], key_type=request.param)
    (home / "kit.pem").write_text(server.chain_pem)
    (home / "kit.key").write_text(server.key_pem)
    authority = home / "ca"
    return Place(
        "127.0.0.1", 0, home / "kit.pem", home / "kit.key", authority / "ca.pem", False, authority / "ca-key.pem"
    )


def _client(place, **lax):
    context = ssl.create_default_context(cafile=place.trust)
    context.load_cert_chain(place.trust.parent.parent / "home.pem", place.trust.parent.parent / "home.key")
    if lax:
        lax.pop("any", None)
        context.check_hostname = False
        context.set_ciphers("ALL:eNULL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for name, value in lax.items():
            setattr(context, name, value)
    return context


def _said(place, context, front):
    with serving(place, lambda *_: Saying(_OK)) as host, host.meanwhile(front):
        return Line(Access(host.url, place.trust), context).exchange(_REQUEST).answer


def _front(place, directory, name):
    return Front(impostors(place, directory)[name](), lambda *_: Saying(_OK))


@pytest.mark.parametrize("name", _LAX)
def test_the_bad_are_refused_by_who_looks_and_taken_by_who_does_not(place, tmp_path, name):
    assert _said(place, _client(place), _front(place, tmp_path, name)) is None
    assert _said(place, _client(place, any=True, **_LAX[name]), _front(place, tmp_path, name)).status == 200


@pytest.mark.parametrize("name", ["good:issued", "good:default suites"])
def test_the_good_are_taken(place, tmp_path, name):
    front = _front(place, tmp_path, name)
    context = _client(place)
    context.set_ciphers("DEFAULT:AES128-SHA256")
    assert _said(place, context, front).status == 200
    assert front.certificate, "the client showed one"


@pytest.mark.parametrize("suite", ["ECDHE-ECDSA-AES128-SHA256", "AES128-SHA256"])
def test_of_the_default_suites_one_is_enough(place, tmp_path, suite):
    context = _client(place)
    context.set_ciphers(suite)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert _said(place, context, _front(place, tmp_path, "good:default suites")).status == 200


def test_what_takes_the_key_of_the_authority_is_there_with_it_only(place, tmp_path):
    without = Place("127.0.0.1", 0, place.certificate, place.key, place.trust)
    more = {"bad:another host", "bad:expired", "good:issued"}
    assert impostors(place, tmp_path).keys() - impostors(without, tmp_path).keys() == more
    assert clients(without, tmp_path).keys() == {"no certificate", "foreign authority"}


def test_clients_that_must_not_be_taken_have_one_fault_each(place, tmp_path):
    shown = clients(place, tmp_path)
    assert shown.pop("no certificate") is None
    lax = {"foreign authority": {"verify_mode": ssl.CERT_NONE}, "expired": {"verify_flags": _NO_CHECK_TIME}}
    assert shown.keys() == lax.keys()
    for name, credentials in shown.items():
        client = ssl.create_default_context(cafile=place.trust)
        client.load_cert_chain(credentials.certificate, credentials.key)
        server = place.context()
        assert _said(place, client, Front(server, lambda *_: Saying(_OK))) is None
        for attribute, value in lax[name].items():
            setattr(server, attribute, value)
        assert _said(place, client, Front(server, lambda *_: Saying(_OK))).status == 200


def test_a_key_that_is_not_the_authoritys_is_named(place):
    strange = Place("127.0.0.1", 0, place.certificate, place.key, place.trust, False, place.key)
    with pytest.raises(InvalidError, match="is not the key of the authority in"):
        read_authority(strange)
    nothing = Place("127.0.0.1", 0, place.certificate, place.key, place.trust, False, place.trust)
    with pytest.raises(InvalidError, match="cannot be used"):
        read_authority(nothing)
