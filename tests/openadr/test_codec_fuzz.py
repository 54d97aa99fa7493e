"""Whatever a peer sends, only WireError and OpenADRError come out."""

from codec_strategies import MESSAGES, calm, messages
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from openadr.v20b import messages as m
from openadr.v20b.codes import OpenADRError
from openadr.v20b.decode import WireError, decode
from openadr.v20b.encode import encode
from openadr.v20b.names import NAMESPACES, PAYLOAD, SIGNED_OBJECT

ODD_TEXTS = st.sampled_from(
    ["", " ", "P", "-P", "PT", "1W", "P1W", "PT999999999999999S", "P999999999Y", "-1", "0", "1e999", "NaN", "INF",
     "true", "2024-02-30T00:00:00Z", "-0001-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "9999-12-31T24:00:00Z", "99999",
     "٣", "x-", "x-a", "a" * 5000, "4294967296", "2.0b"]
)  # fmt: skip


def survives(body):
    for strict in (False, True):
        try:
            assert type(decode(body, strict=strict)) in MESSAGES
        except (WireError, OpenADRError):
            continue


@settings(calm, max_examples=300)
@given(messages, st.data())
def test_bytes_changed(message, data):
    body = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "insert", "double"]))
        if kind == "flip":
            body[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del body[at : at + data.draw(st.integers(1, 40))]
        elif kind == "insert":
            body[at:at] = data.draw(
                st.sampled_from([b"<", b"&", b"]]>", b"<!--", b"\x00", b"<a>", b"</a>", b"&#x0;", b"9"])
            )
        else:
            body[at:at] = body[at : at + 60]
        if not body:
            break
    survives(bytes(body))


@settings(calm, max_examples=300)
@given(messages, st.data())
def test_tree_changed(message, data):
    root = etree.fromstring(encode(message))
    for _ in range(data.draw(st.integers(1, 3))):
        elements = list(root.iter("*"))[1:]
        if not elements:
            break
        one = elements[data.draw(st.integers(0, len(elements) - 1))]
        kind = data.draw(st.sampled_from(["text", "drop", "double", "move", "rename", "attribute", "empty"]))
        if kind == "text":
            one.text = data.draw(ODD_TEXTS)
        elif kind == "drop" and one.tag != SIGNED_OBJECT:
            one.getparent().remove(one)
        elif kind == "double":
            one.addnext(etree.fromstring(etree.tostring(one, with_tail=False)))
        elif kind == "move":
            one.getparent().insert(0, one)
        elif kind == "rename":
            one.tag = elements[data.draw(st.integers(0, len(elements) - 1))].tag
        elif kind == "attribute":
            one.set(data.draw(st.sampled_from(["schemaVersion", "Id", "{http://www.w3.org/2001/XMLSchema-instance}nil",
                                               "{http://www.w3.org/2001/XMLSchema-instance}type"])),
                    data.draw(st.sampled_from(["2.0b", "true", "ei:PayloadFloatType", "x"])))  # fmt: skip
        else:
            one[:] = []
    survives(etree.tostring(root))


@settings(calm, max_examples=200)
@given(messages, st.data())
def test_one_text_changed_in_a_valid_message(message, data):
    root = etree.fromstring(encode(message))
    leaves = [one for one in root.iter("*") if len(one) == 0]
    leaves[data.draw(st.integers(0, len(leaves) - 1))].text = data.draw(ODD_TEXTS)
    survives(etree.tostring(root))


@calm
@given(st.binary(max_size=200))
def test_any_bytes(body):
    survives(body)


@calm
@given(st.sampled_from(sorted(NAMESPACES.values())), st.sampled_from(["oadrPoll", "venID", "interval", "oadrResponse"]))
def test_any_single_element_in_the_envelope(namespace, name):
    root = etree.Element(PAYLOAD)
    etree.SubElement(etree.SubElement(root, SIGNED_OBJECT), f"{{{namespace}}}{name}")
    survives(etree.tostring(root))


def test_the_fuzz_does_accept_what_is_good():
    assert decode(encode(m.Poll("v"))) == m.Poll("v")
