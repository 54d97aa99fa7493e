"""The kit's signatures, made and read: held against signxml and xmlsec1, and what is wrong is told."""

from base64 import b64encode
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding
from signxml import XMLVerifier
from signxml.exceptions import InvalidDigest
from signxml.verifier import SignatureConfiguration

from certs.authority import Authority
from conformance import forgery, judge, keys, signatures
from conformance import templates as t
from conformance.signing import C14N, PROTECTION, RSA_SHA256, WITH_COMMENTS, Signer, canonical_text, serialized
from conformance.wire import Credentials
from core.clock import machine_now
from core.errors import InvalidError
from support.xmlsec import find_xmlsec

_KINDS = (*t.of_every_kind("ven", "registration"), t.register(), t.query())
_SHA1 = "http://www.w3.org/2000/09/xmldsig#rsa-sha1"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority.create(tmp_path_factory.mktemp("signing") / "ca", "CA")


def _issue(authority, place, key_type):
    issued = authority.issue_client("ven", key_type=key_type)
    (place / "own.pem").write_text(issued.chain_pem)
    (place / "own.key").write_text(issued.key_pem)
    return Credentials(place / "own.pem", place / "own.key")


@pytest.fixture(scope="module", params=["ec", "rsa"])
def own(request, authority, tmp_path_factory):
    """Credentials of the authority."""
    return _issue(authority, tmp_path_factory.mktemp("own"), request.param)


@pytest.fixture
def signer(own):
    return Signer(own)


@pytest.mark.parametrize("message", _KINDS, ids=lambda message: message.name)
def test_others_verify_ours_and_so_do_we(signer, own, message, authority, tmp_path):
    body = signer.sign(message).body
    document = judge.parse(body)
    assert judge.schema_fault(document.root) == ""
    assert document.name == message.name
    expected = SignatureConfiguration(location="./", expect_references=2)
    XMLVerifier().verify(body, x509_cert=own.certificate.read_text(), expect_config=expected, id_attribute="Id")
    assert find_xmlsec(tmp_path).accepts(body, authority.ca_pem)
    assert signatures.verified(document) is False
    assert abs(signatures.protection(document).at - machine_now()) < timedelta(minutes=1)


@pytest.mark.parametrize("canonical", [C14N, WITH_COMMENTS])
def test_comments_in_what_is_signed_are_left_out(signer, canonical):
    message = t.poll("ven")
    commented = replace(message, body=message.body.replace(b"<ei:venID>", b"<!-- who --><ei:venID>"))
    signed = signer.sign(commented, canonical=canonical).body
    assert b"<!-- who -->" in signed
    signatures.verified(judge.parse(signed))
    signatures.verified(judge.parse(signed.replace(b"<!-- who -->", b"")))


def test_a_nonce_is_never_used_twice(signer):
    nonces = {signatures.protection(judge.parse(signer.sign(t.poll("v")).body)).nonce for _ in range(20)}
    assert len(nonces) == 20


def _changed(old, new):
    return lambda signer: signer.sign(t.poll("ven")).body.replace(old, new)


_POLL = t.poll("ven")
_BAD = {
    "it is not signed": lambda _: _POLL.body,
    "its digest is another one": _changed(b">ven<", b">other<"),
    "it has 0 SignatureValue": _changed(b"ds:SignatureValue", b"ds:Signaturevalue"),
    "KeyInfo has no X509Certificate": _changed(b"ds:X509Certificate", b"ds:X509certificate"),
    "no Reference names the Id": lambda signer: signer.sign(_POLL, covers=(PROTECTION,)).body,
    "the Transform urn:other": lambda signer: signer.sign(_POLL, canonical="urn:other").body,
    "the CanonicalizationMethod": _changed(
        b"<ds:CanonicalizationMethod Algorithm=", b"<ds:CanonicalizationMethod Other="
    ),
    "names 0 elements": _changed(b'Id="protection"', b'Id="elsewhere"'),
    "names 2 elements": _changed(b'Id="protection"', b'Id="signed"'),
    "has no oadr:Id": _changed(b' oadr:Id="signed"', b""),
    "the DigestMethod": _changed(b"xmlenc#sha256", b"xmlenc#sha512"),
    "does not sign by": lambda signer: _other_method(signer.sign(_POLL).body),
    "is no Base64": _changed(b"<ds:DigestValue>", b"<ds:DigestValue>!"),
}


def _other_method(body):
    rsa, ecdsa = b"xmldsig-more#rsa-sha256", b"xmldsig-more#ecdsa-sha256"
    return body.replace(rsa, ecdsa) if rsa in body else body.replace(ecdsa, rsa)


@pytest.mark.parametrize("wrong", _BAD)
def test_what_is_wrong_with_a_signature_is_told(signer, wrong):
    with pytest.raises(ValueError, match=wrong):
        signatures.verified(judge.parse(_BAD[wrong](signer)))


def test_a_signature_inside_of_what_it_signs_is_no_sibling(signer):
    root = judge.parse(signer.sign(_POLL).body).root
    root[1].insert(0, root[0])
    with pytest.raises(ValueError, match="sibling"):
        signatures.verified(judge.parse(serialized(root)))


@pytest.mark.parametrize(
    ("wrong", "old", "new"),
    [
        ("no SignatureProperty holds", b"dsp:ReplayProtect", b"dsp:Other"),
        ("no Reference covers", b'URI="#protection"', b'URI="#other"'),
        ("has no nonce", b"dsp:nonce", b"dsp:other"),
        ("the timestamp 'x2", b"<dsp:timestamp>", b"<dsp:timestamp>x"),
    ],
)
def test_what_is_wrong_with_a_replay_protect_is_told(signer, wrong, old, new):
    with pytest.raises(ValueError, match=wrong):
        signatures.protection(judge.parse(_changed(old, new)(signer)))


def test_spoiled_messages_are_as_they_are_called(signer, own, tmp_path):
    """A message that is sound after all would have a sound VTN blamed."""
    foreign = keys.stranger(tmp_path, "foreign", rsa_key=signer.is_rsa)
    strangers = {"of a foreign key": Signer(foreign, shows=own), "of a foreign authority": Signer(foreign)}
    message = t.cancel_registration("ven", "registration")
    for name, spoil in forgery.badly_signed(signer, strangers).items():
        document = judge.parse(spoil(message).body)
        if name == "of a foreign authority":  # good, but for who made it
            signatures.verified(document)
            continue
        with pytest.raises(ValueError, match=r"not signed|digest|no Reference|not made by the key"):
            signatures.verified(document)
    assert judge.parse(forgery.badly_signed(signer, {})["moved"](message).body).name == message.name
    for name, spoil in forgery.badly_protected(signer).items():
        document = judge.parse(spoil(message).body)
        if name.startswith("of "):
            signatures.verified(document)
            assert abs(signatures.protection(document).at - machine_now()) > timedelta(hours=23)
        elif name == "without ReplayProtect":
            signatures.verified(document)
            with pytest.raises(ValueError, match="ReplayProtect"):
                signatures.protection(document)
        else:
            with pytest.raises(ValueError, match=r"digest|names 0 elements"):
                signatures.verified(document)


def test_others_refuse_what_was_changed(signer, own):
    tampered = forgery.badly_signed(signer, {})["tampered"](t.query())
    with pytest.raises(InvalidDigest):
        XMLVerifier().verify(
            tampered.body,
            x509_cert=own.certificate.read_text(),
            expect_config=SignatureConfiguration(expect_references=2),
        )


def test_sha_1_is_seen_and_no_fault(authority, tmp_path):
    """A peer's; the kit makes none (SE-09)."""
    own = _issue(authority, tmp_path, "rsa")
    key = serialization.load_pem_private_key(own.key.read_bytes(), None)
    root = judge.parse(Signer(own).sign(_POLL).body.replace(RSA_SHA256.encode(), _SHA1.encode())).root
    value = key.sign(canonical_text(root[0][0]), padding.PKCS1v15(), hashes.SHA1())  # noqa: S303  what is to be seen
    root[0][1].text = b64encode(value).decode()
    assert signatures.verified(judge.parse(serialized(root))) is True


def test_what_is_no_xml_and_files_that_are_no_keys_are_refused(signer, own, tmp_path):
    with pytest.raises(InvalidError, match="cannot be signed"):
        signer.sign(replace(_POLL, body=_POLL.body[:-20]))
    with pytest.raises(InvalidError, match="Nothing can be signed"):
        Signer(Credentials(own.certificate, tmp_path / "missing"))
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "key").write_bytes(ed25519.Ed25519PrivateKey.generate().private_bytes(*pem))
    with pytest.raises(InvalidError, match="neither an RSA nor an EC key"):
        Signer(Credentials(own.certificate, tmp_path / "key"))
