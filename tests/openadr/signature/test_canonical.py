"""Parts cut out of a canonical text are what libxml2 makes of them when they stand alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from openadr.signature.canonical import Canonical
from openadr.signature.values import SignatureError

SPACES = ("http://a.example", "http://b.example/?x=1&amp;y='%3E", "urn:c")
VALUES = ("", "plain", "&lt;&amp;&gt;&quot;'", "a&#10;b&#9;c&#13;", "é\U0001f50c", "x > y")


@st.composite
def documents(draw, depth=0):
    """Return an element as text, with prefixes that are declared anew and undone on the way."""
    declared = draw(st.dictionaries(st.sampled_from(["", "p", "q", "xs"]), st.sampled_from(SPACES), max_size=3))
    if depth == 0:  # so that every prefix is known further in
        declared = {"p": SPACES[0], "q": SPACES[1], "xs": SPACES[2]} | declared
    elif draw(st.booleans()):
        declared[""] = ""
    prefix = draw(st.sampled_from(["", "p:", "q:"]))
    name = f"{prefix}e{depth}"  # none within one of the same name
    attributes = {
        key: draw(st.sampled_from(VALUES)) for key in draw(st.sets(st.sampled_from(["z", "a", "p:a", "xs:b"])))
    }
    tag = "".join(f' xmlns{":" if key else ""}{key}="{space}"' for key, space in declared.items())
    tag += "".join(f' {key}="{value}"' for key, value in attributes.items())
    children = draw(st.lists(documents(depth + 1), max_size=2)) if depth < 3 else []
    texts = [draw(st.sampled_from([value for value in VALUES if "'" not in value])) for _ in range(len(children) + 1)]
    inside = texts[0] + "".join(child + text for child, text in zip(children, texts[1:], strict=True))
    return f"<{name}{tag}>{inside}</{name}>"


def alone(element):
    copy = etree.fromstring(etree.tostring(element, with_tail=False))
    return etree.tostring(copy, method="c14n")


@given(documents())
def test_every_part_is_as_if_it_stood_alone(text):
    root = etree.fromstring(text)
    elements = list(root.iter("*"))
    order = {element: number for number, element in enumerate(elements)}
    canonical = Canonical(root, len(elements))
    assert canonical.text == alone(root)
    for element in elements:
        path = tuple(order[each] for each in (*reversed(list(element.iterancestors())), element))
        assert canonical.part(path) == alone(element)
        assert canonical.text.startswith(b"<", canonical.start(order[element]))


def test_what_would_be_inherited_is_refused():
    root = etree.fromstring('<a xml:lang="en"><b/></a>')
    with pytest.raises(SignatureError, match="inherited"):
        Canonical(root, 2).part((0, 1))


def test_without_canonical_form():
    root = etree.fromstring('<a xmlns:p="relative/place"><b/></a>')
    with pytest.raises(SignatureError, match="no canonical form"):
        Canonical(root, 2)
