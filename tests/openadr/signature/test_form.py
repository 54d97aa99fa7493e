"""Forms: what is read by them is what the parser reads, whatever is done to a message."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openleadr.messaging import create_message

from core.errors import InvalidError
from openadr.signature.claim import read_claim
from openadr.signature.form import MOST_BYTES, Form, cut
from openadr.signature.values import SignatureError
from openadr.signature.verify import Verifier
from openadr.v20b import messages as m
from openadr.v20b.decode import WireError, parse
from support.xmlsec import find_xmlsec

POLL = m.Poll("ven-1")


def form_of(body):
    message = cut(body)
    return message.skeleton, Form(message, read_claim(parse(body)))


def judged(party, claim, after=timedelta()):
    """Return what a verifier says of a claim: a signature, or the fault."""
    verifier = Verifier(now=lambda: party.now + after)
    try:
        verified = verifier.judge(claim, lambda der: der == party.signer.certificate)
    except SignatureError as error:
        return error.fault
    return verified.certificate, verified.method, verified.timestamp, verified.nonce


def test_the_next_message_is_read_as_the_parser_reads_it(party):
    skeleton, form = form_of(party.signed(POLL))
    body = party.signed(POLL, after=timedelta(seconds=5), nonce="another")
    message = cut(body)
    assert message.skeleton == skeleton
    by_form, by_parser = form.fill(message.values), read_claim(parse(body))
    assert by_form == by_parser
    assert judged(party, by_form) == (
        party.signer.certificate,
        party.signer.algorithm,
        party.now + timedelta(seconds=5),
        "another",
    )


@given(data=st.data())
def test_whatever_is_changed_both_say_the_same(ec_party, data):
    skeleton, form = form_of(ec_party.signed(POLL))
    body = ec_party.signed(POLL, nonce=data.draw(st.text("abc019+/=", min_size=1, max_size=9)))
    value = data.draw(st.sampled_from(cut(body).values))
    place = body.index(value) + data.draw(st.integers(-1, len(value)))
    body = body[:place] + data.draw(st.binary(max_size=2)) + body[place + data.draw(st.integers(0, 2)) :]
    message = cut(body)
    if message is None or message.skeleton != skeleton:
        return  # the parser's own
    try:
        by_form = judged(ec_party, form.fill(message.values))
    except InvalidError:
        by_form = None
    try:
        by_parser = judged(ec_party, read_claim(parse(body)))
    except (SignatureError, WireError):
        by_parser = None
    assert by_form == by_parser


@pytest.mark.parametrize("which", range(5))
def test_each_value_counts(ec_party, which):
    """The values of another message are not believed because they are somebody's good ones."""
    _, form = form_of(ec_party.signed(POLL))
    mine = cut(ec_party.signed(POLL, nonce="mine")).values
    other = cut(ec_party.signed(m.Poll("ven-2"), after=timedelta(seconds=1), nonce="other")).values
    mixed = tuple(other[number] if number == which else mine[number] for number in range(5))
    assert isinstance(judged(ec_party, form.fill(mine)), tuple)
    assert not isinstance(judged(ec_party, form.fill(mixed)), tuple)


def test_another_object_is_another_form(party):
    skeleton, _ = form_of(party.signed(POLL))
    assert cut(party.signed(m.Poll("ven-2"))).skeleton != skeleton


def test_time_counts(party):
    _, form = form_of(party.signed(POLL))
    late = form.fill(cut(party.signed(POLL)).values)
    assert judged(party, late, after=timedelta(seconds=61)) == "time"
    values = cut(party.signed(POLL)).values
    with pytest.raises(InvalidError):
        form.fill((*values[:3], b"9999", values[4]))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<ds:SignatureValue>", b"<ds:SignatureValue>\n"),
        (b"<dsp:nonce>", b"<dsp:nonce>&lt;"),
        (b"<dsp:timestamp>", b"<dsp:timestamp> "),
        (b"<ds:DigestValue>", b"<ds:DigestValue><!---->"),
        (b"<ds:DigestValue>", b"<ds:DigestValue>=="),
        (b"dsp:nonce>", b"dsp:once>"),
        (b"</oadr:oadrPayload>", b"</oadr:oadrPayload>" + b" " * MOST_BYTES),
        (b"<ds:SignedInfo>", b"<![CDATA[]]><ds:SignedInfo>"),
    ],
)
def test_what_is_written_in_another_way_has_no_form(ec_party, old, new):
    assert cut(ec_party.signed(POLL).replace(old, new)) is None


def test_values_in_another_place_have_no_form(ec_party):
    """Where somebody else's look-alikes come first, the form would not fill in what is verified."""
    body = ec_party.signed(POLL)
    other = ec_party.signed(m.Poll("ven-2"), nonce="other")
    digest = cut(other).values[0]
    body = body.replace(b"<ds:Signature ", b'<ds:Signature a="DigestValue>' + digest + b"&lt;" + b'" ', 1)
    assert cut(body) is None
    with pytest.raises(InvalidError):
        Form(cut(ec_party.signed(POLL)), read_claim(parse(other)))


def test_messages_of_other_makes_have_forms(party):
    bodies = [
        create_message("oadrPoll", cert=party.cert_pem, key=party.key_pem.encode(), ven_id="v").encode()
        for _ in range(2)
    ]
    skeleton, form = form_of(bodies[0])
    message = cut(bodies[1])
    assert message.skeleton == skeleton
    assert form.fill(message.values) == read_claim(parse(bodies[1]))


def test_one_that_wraps_its_base64_is_read_by_the_parser(party, tmp_path):
    template = party.signed(POLL)
    for value in cut(template).values[:3]:
        template = template.replace(value, b"")
    signed = find_xmlsec(tmp_path).sign(template, party.key_pem, party.cert_pem)
    assert party.verify(signed) is not None
    assert cut(signed) is None
