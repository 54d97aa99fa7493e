"""Market contexts compare as URIs do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openadr.model.contexts import normal_context, same_context


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://host/b", "HTTP://Host/a/../b", True),
        ("http://host/b", "http://host:80/b", True),
        ("https://host:443/", "https://host", True),
        ("http://host/%7eb", "http://host/~b", True),
        ("http://host/%2f", "http://host/%2F", True),
        ("http://host/b", "http://host/B", False),
        ("http://host/b", "http://host/b/", False),
        ("http://host/b", "https://host/b", False),
        ("http://host/b?x=1", "http://host/b", False),
        ("http://host:8080/b", "http://host/b", False),
        ("urn:a", "urn:a", True),
        ("urn:a", "URN:a", False),
        ("http://[::1/b", "http://[::1/b", True),
    ],
)
def test_pairs(one, other, same):
    assert same_context(one, other) is same


@given(st.text(max_size=60))
def test_normalising_twice_changes_nothing_and_never_fails(text):
    once = normal_context(text)
    assert normal_context(once) == once
