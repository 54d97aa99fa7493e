"""What a signature must be like: everything else is refused, with the reason."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from openadr.signature import names as n
from openadr.signature.values import Fault, SignatureError
from openadr.v20b import messages as m
from openadr.v20b.decode import WireError, decode_noting, parse
from openadr.v20b.encode import encode
from openadr.v20b.names import SIGNED_OBJECT
from openadr.v20b.schema import schema

POLL = m.Poll("ven-1")
DS = f'xmlns:ds="{n.DS}"'


def swapped(body, old, new):
    assert old in body
    return body.replace(old, new)


def fault_of(party, body, **kwargs):
    with pytest.raises(SignatureError) as caught:
        party.verify(body, **kwargs)
    return caught.value.fault


def test_what_a_good_signature_says(party):
    body = party.signed(POLL)
    payload = parse(body)
    schema().assertValid(payload)
    verified = party.verify(payload)
    assert verified.signed_object is payload[1]
    assert verified.certificate == party.signer.certificate
    assert verified.timestamp == party.now
    assert verified.nonce == "0123456789abcdef"
    decoded = decode_noting(body, strict=True, verify=party.verify)
    assert decoded.message == POLL
    assert decoded.signature == verified


def test_a_message_without_signature_has_none(party):
    assert party.verify(encode(POLL)) is None


@given(data=st.data())
def test_no_changed_byte_passes_unnoticed(ec_party, data):
    """Whatever one changes, the message is refused or still says the same."""
    body = ec_party.signed(POLL)
    place = data.draw(st.integers(0, len(body) - 1))
    changed = body[:place] + data.draw(st.binary(max_size=3)) + body[place + data.draw(st.integers(0, 3)) :]
    try:
        decoded = decode_noting(changed, verify=ec_party.verify)
    except (SignatureError, WireError):
        return
    assert decoded.message == POLL


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (b"ven-1", b"ven-2", Fault.DIGEST),
        (b"0123456789abcdef", b"0123456789abcdee", Fault.DIGEST),
        (b"<dsp:timestamp>2", b"<dsp:timestamp>3", Fault.DIGEST),
        (b"<ds:DigestValue>", b"<ds:DigestValue>AA", Fault.SHAPE),
        (b"<ds:DigestValue>", b"<ds:DigestValue>AAAA", Fault.DIGEST),
        (b"<ds:SignatureValue>", b"<ds:SignatureValue>AAAA", Fault.VALUE),
        (n.ECDSA_SHA256.encode(), n.RSA_SHA256.encode(), Fault.ALGORITHM),
        (n.ECDSA_SHA256.encode(), b"http://www.w3.org/2000/09/xmldsig#hmac-sha1", Fault.ALGORITHM),
        (n.ECDSA_SHA256.encode(), b"http://www.w3.org/2001/04/xmldsig-more#hmac-sha256", Fault.ALGORITHM),
        (n.ECDSA_SHA256.encode(), b"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha1", Fault.ALGORITHM),
        (n.SHA256.encode(), b"http://www.w3.org/2000/09/xmldsig#sha1", Fault.ALGORITHM),
        (n.C14N.encode(), b"http://www.w3.org/2001/10/xml-exc-c14n#", Fault.ALGORITHM),
        (b'#signed-object"', b'#replay-protect"', Fault.SHAPE),
        (b'#replay-protect"', b'#signed-object"', Fault.SHAPE),
        (b'#replay-protect"', b'#signature"', Fault.SHAPE),
        (b'URI="#signed-object"', b'URI=""', Fault.SHAPE),
        (b'URI="#signed-object"', b'URI="http://example.com/"', Fault.SHAPE),
        (b'URI="#signed-object"', b'URI="file:///etc/passwd"', Fault.SHAPE),
        (b'URI="#signed-object"', b'URI="#xpointer(/)"', Fault.SHAPE),
        (b' Id="replay-protect"', b' Id="signed-object"', Fault.SHAPE),
        (b' Id="signature"', b' Id="replay-protect"', Fault.SHAPE),
        (b"<ds:Transforms>", b"<ds:Transforms><ds:Transform Algorithm='x'/>", Fault.SHAPE),
        (b"<ds:X509Data>", b"<ds:X509Data/><ds:X>", None),
        (b"</ds:SignedInfo>", b"<ds:Reference/></ds:SignedInfo>", Fault.SHAPE),
        (b"<ds:X509Certificate>", b"<ds:X509Certificate>AAAA", Fault.CERTIFICATE),
        (b"<dsp:nonce>", b"<dsp:nonce>" + b"0" * 128, Fault.SHAPE),
        (b"<dsp:timestamp>2", b"<dsp:timestamp>about 2", Fault.SHAPE),
        (b"<oadr:oadrPayload ", b'<oadr:oadrPayload xml:lang="en" ', Fault.SHAPE),
    ],
)
def test_changed_in_one_place(ec_party, old, new, fault):
    body = swapped(ec_party.signed(POLL), old, new)
    if fault is None:
        body = body.replace(b"</ds:X509Data>", b"</ds:X>")
        fault = Fault.CERTIFICATE
    assert fault_of(ec_party, body) is fault


@pytest.mark.parametrize(
    "tag", [n.REFERENCE, n.KEY_INFO, n.OBJECT, n.REPLAY_PROTECT, n.TIMESTAMP, n.NONCE, n.SIGNED_INFO]
)
def test_a_part_left_out(party, tag):
    payload = parse(party.signed(POLL))
    gone = payload.find(f".//{tag}")
    gone.getparent().remove(gone)
    assert fault_of(party, payload) is Fault.SHAPE


def test_wrapped_moved_and_doubled(party):
    body = party.signed(POLL)
    foreign = etree.fromstring(encode(m.Poll("ven-2")))[0]

    moved = parse(body)  # the signed object in a corner, another in its place
    moved[0].append(moved[1])
    moved.append(foreign)
    assert fault_of(party, moved) is Fault.SHAPE

    hidden = parse(body)
    holder = hidden.find(f".//{n.OBJECT}")
    foreign.set(n.OBJECT_ID, "signed-object")
    holder.append(hidden[1])
    hidden.append(foreign)
    assert fault_of(party, hidden) is Fault.SHAPE

    several = parse(body)
    several.append(etree.fromstring(etree.tostring(several[1])))
    assert fault_of(party, several) is Fault.SHAPE

    last = parse(body)
    last.append(last[0])
    assert fault_of(party, last) is Fault.SHAPE

    inside = parse(encode(m.Poll("ven-2")))
    inside[0].append(parse(body)[0])
    assert fault_of(party, inside) is Fault.SHAPE

    twice = parse(body)
    twice.insert(0, etree.fromstring(etree.tostring(twice[0])))
    assert fault_of(party, twice) is Fault.SHAPE


@pytest.mark.parametrize("name", [None, ""])
def test_an_object_without_id_is_none_that_a_reference_could_mean(party, name):
    payload = parse(party.signed(POLL))
    payload[1].attrib.pop(n.OBJECT_ID)
    if name is not None:
        payload[1].set(n.OBJECT_ID, name)
    payload.find(f".//{n.REFERENCE}").set("URI", f"#{name}")
    assert fault_of(party, payload) is Fault.SHAPE


def test_an_object_taken_from_another_message(party):
    payload = parse(party.signed(POLL))
    payload.replace(payload[1], parse(party.signed(m.Poll("ven-2")))[1])
    assert fault_of(party, payload) is Fault.DIGEST


def test_an_object_within_the_object(party):
    """A part that ends too early is no element, so no digest fits."""
    payload = parse(party.signed(POLL))
    inner = etree.fromstring(etree.tostring(payload[1]))
    payload[1].insert(0, inner)
    assert fault_of(party, payload) is Fault.DIGEST


def test_a_huge_or_deep_signature(party):
    wide = parse(party.signed(POLL))
    key_info = wide.find(f".//{n.KEY_INFO}")
    key_info.extend(etree.fromstring(f"<ds:KeyName {DS}/>") for _ in range(100))
    assert fault_of(party, wide) is Fault.SHAPE
    long = parse(party.signed(POLL))
    long.find(f".//{n.X509_CERTIFICATE}").text += " " * 20_000
    assert fault_of(party, long) is Fault.SHAPE


def test_certificates(party, stranger):
    body = party.signed(POLL)
    assert fault_of(party, body, trusts=lambda _: False) is Fault.CERTIFICATE
    assert fault_of(party, stranger.signed(POLL)) is Fault.CERTIFICATE
    assert fault_of(party, body, after=timedelta(days=31)) is Fault.CERTIFICATE
    assert fault_of(party, body, after=timedelta(days=-31)) is Fault.CERTIFICATE
    payload = parse(body)
    shown = payload.find(f".//{n.X509_CERTIFICATE}")
    shown.getparent().insert(0, parse(stranger.signed(POLL)).find(f".//{n.X509_CERTIFICATE}"))
    assert party.verify(payload).certificate == party.signer.certificate


def test_a_certificate_that_is_none(party):
    payload = parse(party.signed(POLL))
    payload.find(f".//{n.X509_CERTIFICATE}").text = "AAAA"
    assert fault_of(party, payload, trusts=lambda _: True) is Fault.CERTIFICATE


@pytest.mark.parametrize("after", [timedelta(seconds=61), timedelta(seconds=-61)])
def test_the_window_is_symmetric(party, after):
    body = party.signed(POLL)
    assert fault_of(party, body, after=after) is Fault.TIME
    assert party.verify(body, after=after * 0.95) is not None


def test_without_transforms_means_the_same_as_with(ec_party):
    body = swapped(ec_party.signed(POLL), b"<ds:Transforms>", b"<ds:X>").replace(b"</ds:Transforms>", b"</ds:X>")
    payload = parse(body)
    for extra in payload.findall(f".//{{{n.DS}}}X"):
        extra.getparent().remove(extra)
    assert fault_of(ec_party, payload) is Fault.VALUE  # only the SignedInfo has changed


def test_namespaces_of_the_payload_count(party):
    """What is in scope belongs to the canonical form of a part."""
    body = swapped(party.signed(POLL), b"<oadr:oadrPayload ", b'<oadr:oadrPayload xmlns:new="http://new.example" ')
    assert fault_of(party, body) is Fault.DIGEST


def test_a_relative_namespace_has_no_canonical_form(party):
    body = swapped(party.signed(POLL), b"<oadr:oadrPayload ", b'<oadr:oadrPayload xmlns:new="new/place" ')
    assert fault_of(party, body) in (Fault.SHAPE, Fault.DIGEST)


def test_only_the_signed_object_is_looked_for(party):
    payload = parse(party.signed(POLL))
    assert [child.tag for child in payload] == [n.SIGNATURE, SIGNED_OBJECT]
