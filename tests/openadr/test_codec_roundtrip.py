"""Every encoded message is schema-valid, obeys the rules for all payloads, and decodes to what it was."""

import re
from dataclasses import replace
from typing import get_args

import pytest
from codec_strategies import MESSAGES, calm, messages
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from openadr.v20b.decode import decode
from openadr.v20b.encode import encode, message_name
from openadr.v20b.messages import Message, OadrResponse
from openadr.v20b.names import SCHEMA_VERSION
from openadr.v20b.schema import schema

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
_DURATION = re.compile(r"-?P(\d+Y)?(\d+M)?(\d+D)?(T(\d+H)?(\d+M)?(\d+S)?)?")


def test_strategies_cover_all_23_kinds_of_message():
    assert set(MESSAGES) == set(get_args(Message))
    assert len(MESSAGES) == 23


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_valid_and_equal_after_the_round_trip(kind):
    @calm
    @given(MESSAGES[kind])
    def check(message):
        body = encode(message)
        schema().assertValid(etree.fromstring(body))
        assert decode(body, strict=True) == message
        assert decode(body) == message

    check()


@calm
@given(messages)
def test_rules_for_all_payloads(message):
    body = encode(message)
    assert body.startswith(b'<?xml version="1.0" encoding="UTF-8"?>')
    root = etree.fromstring(body)
    assert [child.tag.rpartition("}")[2] for child in root] == ["oadrSignedObject"]
    element = root[0][0]
    assert element.tag.endswith("}" + message_name(type(message)))
    assert element.get(SCHEMA_VERSION) == "2.0b"
    assert b"schemaLocation" not in body
    for leaf in root.iter("*"):
        name = leaf.tag.rpartition("}")[2]
        if name in ("date-time", "createdDateTime", "modificationDateTime"):
            assert _TIME.fullmatch(leaf.text)
        if name in ("duration", "startafter", "oadrMinPeriod", "oadrMaxPeriod") and len(leaf) == 0:
            assert _DURATION.fullmatch(leaf.text)


@calm
@given(
    MESSAGES[OadrResponse],
    st.text(st.characters(categories=None)),
)
def test_characters_that_xml_forbids_never_break_it(message, text):
    body = encode(replace(message, response=replace(message.response, request_id=text)))
    read = decode(body, strict=True)
    kept = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", "\ufffd", text)
    assert read.response.request_id == kept
