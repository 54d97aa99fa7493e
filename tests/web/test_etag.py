import pytest

from web.etag import check_if_match, etag_of, is_unchanged
from web.problem import ProblemError

TAG = etag_of(b"{}")


def test_the_tag_is_strong_and_of_the_bytes():
    assert TAG == etag_of(b"{}") != etag_of(b"{ }")
    assert TAG[0] == TAG[-1] == '"'


@pytest.mark.parametrize("header", [TAG, "*", f'"a", {TAG}', f"W/{TAG}", f' {TAG} ,"b"'])
def test_unchanged(header):
    assert is_unchanged(header, TAG)


@pytest.mark.parametrize("header", [None, "", '"a"', TAG.strip('"'), "*x"])
def test_changed(header):
    assert not is_unchanged(header, TAG)


@pytest.mark.parametrize("header", [None, "*", TAG, f'"a",{TAG}'])
def test_a_match(header):
    check_if_match(header, TAG)


@pytest.mark.parametrize(
    ("header", "status"), [('"a"', 412), (f"W/{TAG}", 412), ("a", 400), ("", 400), (f"{TAG} x", 400)]
)
def test_no_match(header, status):
    with pytest.raises(ProblemError) as caught:
        check_if_match(header, TAG)
    assert caught.value.status == status


def test_a_required_match():
    check_if_match(TAG, TAG, required=True)
    with pytest.raises(ProblemError) as caught:
        check_if_match(None, TAG, required=True)
    assert caught.value.status == 428


def test_a_long_header_is_read_in_one_pass():
    with pytest.raises(ProblemError) as caught:
        check_if_match(", ".join(['"a"'] * 2000) + "x", TAG)
    assert caught.value.status == 400
