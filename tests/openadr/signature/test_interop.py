"""Signatures of every message, RSA and P-256, with independent implementations: signxml and xmlsec1 (SE-09)."""

from datetime import timedelta

import pytest
from codec_strategies import MESSAGES
from hypothesis import given, settings
from lxml import etree
from openleadr.messaging import create_message
from signxml import SignatureMethod, XMLSigner, XMLVerifier, methods
from signxml.exceptions import InvalidDigest
from signxml.verifier import SignatureConfiguration

from openadr.signature import names as n
from openadr.signature.values import SignatureError
from openadr.v20b import messages as m
from openadr.v20b.decode import decode, decode_noting, parse
from openadr.v20b.encode import encode, message_name
from openadr.v20b.schema import schema
from support.xmlsec import find_xmlsec

few = settings(max_examples=4)  # of each of 23 messages, with both kinds of keys
_SIGNATURE = f"""<ds:Signature xmlns:ds="{n.DS}"><ds:SignedInfo>
 <ds:CanonicalizationMethod Algorithm="%(c14n)s"/><ds:SignatureMethod Algorithm="%(algorithm)s"/>
 <ds:Reference URI="#object"><ds:Transforms><ds:Transform Algorithm="%(c14n)s"/></ds:Transforms>
 <ds:DigestMethod Algorithm="{n.SHA256}"/><ds:DigestValue/></ds:Reference>
 <ds:Reference URI="#property"><ds:DigestMethod Algorithm="{n.SHA256}"/><ds:DigestValue/></ds:Reference></ds:SignedInfo>
 <ds:SignatureValue/><ds:KeyInfo><ds:X509Data/></ds:KeyInfo>
 <ds:Object><ds:SignatureProperties><ds:SignatureProperty Id="property" Target="#s">
 <dsp:ReplayProtect xmlns:dsp="{n.DSP}"><dsp:timestamp>%(time)s</dsp:timestamp><dsp:nonce>abc</dsp:nonce>
 </dsp:ReplayProtect></ds:SignatureProperty></ds:SignatureProperties></ds:Object></ds:Signature>
"""


def template(party, message, c14n=n.C14N):
    """Return a message with a signature that is still empty, written with white space and other prefixes."""
    values = {"c14n": c14n, "algorithm": party.signer.algorithm, "time": party.now.isoformat()}
    body = encode(message, sign=lambda text: text).replace(b"signed-object", b"object")
    return body.replace(b"<oadr:oadrSignedObject", (_SIGNATURE % values).encode() + b"<oadr:oadrSignedObject", 1)


@pytest.mark.parametrize("kind", MESSAGES, ids=message_name)
def test_signxml_verifies_ours(party, kind):
    expected = SignatureConfiguration(location="./", expect_references=2)

    @few
    @given(MESSAGES[kind])
    def check(message):
        body = party.signed(message)
        schema().assertValid(etree.fromstring(body))
        results = XMLVerifier().verify(body, x509_cert=party.cert_pem, expect_config=expected, id_attribute="Id")
        assert results[0].signed_xml.tag.endswith("oadrSignedObject")
        assert decode_noting(body, strict=True, verify=party.verify).message == message

    check()


@pytest.mark.parametrize("kind", MESSAGES, ids=message_name)
def test_xmlsec_and_we_verify_each_other(party, kind, tmp_path):
    xmlsec = find_xmlsec(tmp_path)
    message = _example(MESSAGES[kind])
    body = party.signed(message)
    assert xmlsec.accepts(body, party.ca_pem)
    assert not xmlsec.accepts(body.replace(b'schemaVersion="2.0b"', b'schemaVersion="2.0c"'), party.ca_pem)
    for c14n in sorted(n.C14NS):
        theirs = xmlsec.sign(template(party, message, c14n), party.key_pem, party.cert_pem)
        assert decode_noting(theirs, strict=True, verify=party.verify).message == message
        with pytest.raises(SignatureError):
            party.verify(theirs.replace(b'schemaVersion="2.0b"', b'schemaVersion="2.0c"'))


def _example(strategy):
    drawn = []

    @settings(max_examples=2, database=None, derandomize=True)
    @given(strategy)
    def draw(message):
        drawn.append(message)

    draw()
    return drawn[-1]


def test_openleadr_signs_and_we_verify(party):
    body = create_message("oadrPoll", cert=party.cert_pem, key=party.key_pem.encode(), ven_id="ven-1").encode()
    hours_ago = timedelta(hours=-1)
    verified = party.verify(body, after=hours_ago)
    assert verified is not None
    assert decode(body, verify=lambda payload: party.verify(payload, after=hours_ago)) == m.Poll("ven-1")


def test_a_signature_without_replay_protection_is_refused(party):
    """As signxml makes it when nothing else is asked of it (SE-10)."""
    payload = parse(encode(m.Poll("v"), sign=lambda text: text))
    algorithm = SignatureMethod(party.signer.algorithm)
    signer = XMLSigner(method=methods.detached, c14n_algorithm=n.C14N, signature_algorithm=algorithm)
    payload.insert(0, signer.sign(payload[0], key=party.key_pem, cert=party.cert_pem, reference_uri="#signed-object"))
    with pytest.raises(SignatureError, match="SignedInfo"):
        party.verify(payload)


def test_signxml_refuses_what_was_changed(party):
    body = party.signed(m.Poll("ven-1")).replace(b"ven-1", b"ven-2")
    with pytest.raises(InvalidDigest):
        XMLVerifier().verify(body, x509_cert=party.cert_pem, expect_config=SignatureConfiguration(expect_references=2))
