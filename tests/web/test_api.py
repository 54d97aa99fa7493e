"""Requests through the whole shell: what comes in is validated, what goes out keeps its schema."""

import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from web.api import Api, Context
from web.auth import Role
from web.model import IsoDuration, Model, UtcTime
from web.operation import inspect_handler, operation
from web.problem import ProblemError

KETTLE = {"name": "whistler", "intervals": [{"value": 1500, "duration": "PT15M"}]}


async def problem(response, status):
    assert response.status == status, await response.text()
    assert response.content_type == "application/problem+json"
    document = await response.json()
    assert document["status"] == status
    assert document["request_id"] == response.headers["X-Request-Id"]
    return document


async def test_create_read_list_rename_delete(toy):
    admin = toy.bearer(Role.ADMIN)
    response = await toy.client.post("/kettles", json={**KETTLE, "bought": "2026-01-31T13:00:00+01:00"}, headers=admin)
    assert response.status == 201
    assert response.headers["Location"] == "/kettles/k0"
    made = await response.json()
    assert made["bought"] == "2026-01-31T12:00:00Z"
    assert made["intervals"] == [{"value": 1500.0, "duration": "PT15M"}]

    response = await toy.client.get("/kettles/k0", headers=admin)
    assert await response.json() == made
    tag = response.headers["ETag"]
    assert response.headers["Cache-Control"] == "private, no-cache"

    response = await toy.client.get("/kettles/k0", headers={**admin, "If-None-Match": f'"other", {tag}'})
    assert (response.status, await response.read()) == (304, b"")
    assert response.headers["ETag"] == tag

    await problem(await toy.client.patch("/kettles/k0", json={"name": "x"}, headers=admin), 428)
    stale = {**admin, "If-Match": '"stale"'}
    assert (
        "read it again"
        in (await problem(await toy.client.patch("/kettles/k0", json={"name": "x"}, headers=stale), 412))["detail"]
    )
    response = await toy.client.patch("/kettles/k0", json={"name": "x"}, headers={**admin, "If-Match": tag})
    assert (await response.json())["name"] == "x"
    await problem(await toy.client.patch("/kettles/k0", json={"name": "y"}, headers={**admin, "If-Match": tag}), 412)

    response = await toy.client.delete("/kettles/k0", headers=admin)
    assert (response.status, await response.read()) == (204, b"")
    assert (await problem(await toy.client.get("/kettles/k0", headers=admin), 404))["detail"] == "No kettle k0."


async def test_whoever_read_an_older_version_changes_nothing(toy):
    """Also where the operation itself does not look at If-Match; and what is put can be read by the tag that it got."""
    admin = toy.bearer(Role.ADMIN)
    await toy.client.post("/kettles", json=KETTLE, headers=admin)
    tag = (await toy.client.get("/kettles/k0", headers=admin)).headers["ETag"]
    other = {**KETTLE, "name": "other"}
    changed = await toy.client.put("/kettles/k0", json=other, headers={**admin, "If-Match": tag})
    assert changed.status == 200
    await problem(await toy.client.put("/kettles/k0", json=KETTLE, headers={**admin, "If-Match": tag}), 412)
    read = await toy.client.get("/kettles/k0", headers=admin)
    assert ((await read.json())["name"], read.headers["ETag"]) == ("other", changed.headers["ETag"])
    assert (await toy.client.put("/kettles/k0", json=KETTLE, headers=admin)).status == 200, "without a condition"
    await problem(await toy.client.put("/kettles/k9", json=KETTLE, headers={**admin, "If-Match": tag}), 404)


async def test_a_tag_is_that_of_what_is_read_there_even_where_another_thing_is_answered(toy):
    admin = toy.bearer(Role.ADMIN)
    await toy.client.post("/kettles", json=KETTLE, headers=admin)
    answer = await toy.client.put("/kettles/k0/lid", headers=admin)
    assert await answer.json() == "click"
    assert answer.headers["ETag"] == (await toy.client.get("/kettles/k0/lid", headers=admin)).headers["ETag"]


async def test_pages_follow_each_other_to_the_end(toy):
    admin = toy.bearer(Role.ADMIN)
    for number in range(5):
        await toy.client.post("/kettles", json={"name": f"kettle {number}"}, headers=admin)
    seen, address = [], "/kettles?limit=2&colour=red&colour=blue"
    while address:
        response = await toy.client.get(address, headers=admin)
        page = await response.json()
        seen += [kettle["id"] for kettle in page["items"]]
        link = response.links.get("next")
        assert (link is None) == (page["next"] is None)
        address = str(link["url"].relative()) if link else None
        assert address is None or "colour=red&colour=blue" in address
    assert seen == ["k0", "k1", "k2", "k3", "k4"]
    assert (await (await toy.client.get("/kettles?colour=blue", headers=admin)).json())["items"] == []


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"intervals": [{"value": "hot"}]}, "/intervals/0/value"),
        ({"intervals": [{"value": 1, "colour": 2}]}, "/intervals/0/colour"),
        ({"intervals": [{"value": 1, "duration": "P1X"}]}, "/intervals/0/duration"),
        ({"intervals": [{}]}, "/intervals/0/value"),
        ({"name": 7}, "/name"),
        ({"a/b~c": 1}, "/a~1b~0c"),
        ({"bought": "2026-01-31T12:00:00"}, "/bought"),
        ({"bought": "1700000000"}, "/bought"),
        ({"bought": "2026-01-31"}, "/bought"),
        ({"bought": "0001-01-01T00:00:00+01:00"}, "/bought"),
        ({"colour": "green"}, "/colour"),
        ({"age": "old"}, "/age"),
        ({"age": True}, "/age"),
    ],
)
async def test_a_bad_body_is_answered_with_the_place_of_the_fault(toy, change, pointer):
    response = await toy.client.post("/kettles", json={**KETTLE, **change}, headers=toy.bearer(Role.ADMIN))
    document = await problem(response, 422)
    assert document["type"] == "urn:evenload:problem:invalid"
    assert {fault["pointer"] for fault in document["errors"]} == {pointer}
    assert toy.shelf.kettles == {}


async def test_a_body_of_many_faults_names_twenty(toy):
    body = {**KETTLE, **{f"x{number}": 1 for number in range(100)}}
    document = await problem(await toy.client.post("/kettles", json=body, headers=toy.bearer(Role.ADMIN)), 422)
    assert len(document["errors"]) == 20


async def test_the_body_must_be_an_object(toy):
    document = await problem(await toy.client.post("/kettles", json=[1], headers=toy.bearer(Role.ADMIN)), 422)
    assert document["errors"] == [{"pointer": "", "detail": "A JSON object is needed."}]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=5.0", "limit"),
        ("limit=1_0", "limit"),
        ("limit=" + "9" * 400, "limit"),
        ("limit=1&limit=2", "limit"),
        ("colour=green", "colour"),
        ("colour=red&colour=green", "colour"),
        ("&".join(["colour=red"] * 101), "colour"),
        ("from=2026-01-31T12:00:00", "from"),
        ("from=2026-01-31T12:00:00+01:00", "from"),
        ("from_=2026-01-31T12:00:00Z", "from_"),
        ("cold=yes", "cold"),
        ("order=colour", "order"),
        ("order=na%00me", "order"),
        ("unknown=1", "unknown"),
        ("cursor=" + "A" * 600, "cursor"),
    ],
)
async def test_a_bad_query_is_answered_with_the_parameter(toy, query, parameter):
    response = await toy.client.get(f"/kettles?{query}", headers=toy.bearer(Role.VIEWER))
    document = await problem(response, 422)
    assert [fault["parameter"] for fault in document["errors"]] == [parameter]


@pytest.mark.parametrize("query", ["from=2026-01-31T12:00:00Z", "cold=true", "cold=false", "order=name", "limit=500"])
async def test_a_good_query_passes(toy, query):
    assert (await toy.client.get(f"/kettles?{query}", headers=toy.bearer(Role.VIEWER))).status == 200


async def test_a_plus_in_a_query_needs_its_escape_and_the_error_says_so(toy):
    viewer = toy.bearer(Role.VIEWER)
    document = await problem(await toy.client.get("/kettles?from=2026-01-31T12:00:00+01:00", headers=viewer), 422)
    assert "%2B" in document["errors"][0]["detail"]
    assert (await toy.client.get("/kettles?from=2026-01-31T12:00:00%2B01:00", headers=viewer)).status == 200


async def test_a_required_query_parameter(toy):
    assert await (await toy.client.get("/double?number=21")).json() == 42.0
    assert await (await toy.client.get("/double?number=-2&factor=1e1")).json() == -20.0
    document = await problem(await toy.client.get("/double"), 422)
    assert document["errors"] == [{"parameter": "number", "detail": "This is required."}]
    await problem(await toy.client.get("/double?number=1&factor=1e999"), 422)
    await problem(await toy.client.get("/double?number=1&factor=nan"), 422)


async def test_a_cursor_of_another_listing_is_refused(toy):
    document = await problem(await toy.client.get("/kettles?cursor=abc", headers=toy.bearer(Role.VIEWER)), 422)
    assert "start again without it" in document["detail"]


async def test_a_body_where_none_is_taken_is_refused(toy):
    await problem(await toy.client.get("/double?number=1", data=b"{}"), 400)


async def test_head_is_answered_like_get_without_the_body(toy):
    response = await toy.client.head("/double?number=1")
    assert (response.status, await response.read()) == (200, b"")
    assert "ETag" in response.headers


@pytest.mark.parametrize("how", ["nan", "text"])
async def test_an_answer_that_breaks_its_own_schema_is_our_fault(toy, how):
    await problem(await toy.client.get(f"/fail/{how}"), 500)


async def test_a_response_is_passed_through(toy):
    response = await toy.client.get("/stream")
    assert (response.content_type, await response.text()) == ("text/csv", "a,b\n")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=5) | st.sampled_from(["name", "age", "intervals", "value", "bought"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@pytest.fixture(scope="module")
def reader():
    class Inner(Model):
        value: float
        when: UtcTime | None = None
        lasts: IsoDuration | None = None

    class Outer(Model):
        name: str
        intervals: tuple[Inner, ...] = ()
        age: int | None = None

    @operation("POST", "/things", summary="Add", role=None)
    async def add(context: Context, body: Outer) -> None:
        raise AssertionError

    return inspect_handler(add)


@given(body=JSON)
def test_any_json_is_read_or_refused_with_pointers_into_it(reader, body):
    raw = json.dumps(body).encode()
    value, error = _attempt(reader, raw)
    if error is None:
        assert json.loads(TypeAdapter(type(value)).dump_json(value, exclude_unset=True)).keys() == body.keys()
        return
    assert error.status in {400, 422}
    for fault in error.errors:
        _resolve(body, fault.pointer)


def _attempt(reader, raw):
    try:
        return reader.read_body(raw), None
    except ProblemError as error:
        return None, error


def _resolve(body, pointer):
    """Follow a pointer; only its last step may name something that is not there (a missing field)."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    for place, step in enumerate(steps):
        if isinstance(body, list):
            body = body[int(step)]
        elif step in body:
            body = body[step]
        else:
            assert place == len(steps) - 1


class TestWhatCannotBeServed:
    """Faults of the program show when it starts, those of its types when the document is written (as tests do)."""

    def test_a_function_without_description(self):
        async def bare(context: Context) -> None: ...

        with pytest.raises(TypeError, match="no @operation"):
            Api("x", "1", [bare])

    def test_a_path_parameter_that_the_function_lacks(self):
        @operation("GET", "/{thing_id}", summary="x", role=None)
        async def read(context: Context) -> None: ...

        with pytest.raises(TypeError, match="thing_id"):
            Api("x", "1", [read])

    def test_a_time_without_zone(self):
        @operation("GET", "/x", summary="x", role=None)
        async def read(context: Context, since: datetime | None = None) -> None: ...

        with pytest.raises(TypeError, match="UtcTime"):
            Api("x", "1", [read]).document()

    def test_no_type_hints(self):
        @operation("GET", "/x", summary="x", role=None)
        async def untyped(context: Context, since) -> None: ...  # type: ignore[no-untyped-def]

        @operation("GET", "/x", summary="x", role=None)
        async def silent(context: Context): ...  # type: ignore[no-untyped-def]

        with pytest.raises(TypeError, match="no type hint for since"):
            Api("x", "1", [untyped])
        with pytest.raises(TypeError, match="say what it returns"):
            Api("x", "1", [silent])

    def test_no_context_or_not_async(self):
        @operation("GET", "/x", summary="x", role=None)
        async def first(limit: int) -> None: ...

        with pytest.raises(TypeError, match="first parameter is 'context'"):
            Api("x", "1", [first])

    def test_twins(self):
        @operation("GET", "/x", summary="x", role=None)
        async def one(context: Context) -> None: ...

        @operation("GET", "/x", summary="x", role=None)
        async def two(context: Context) -> None: ...

        with pytest.raises(TypeError, match="share"):
            Api("x", "1", [one, two])
        with pytest.raises(TypeError, match="share"):
            Api("x", "1", [one, one])

    def test_an_example_that_is_wrong(self):
        class Body(Model):
            a: int

        @operation("POST", "/x", summary="x", role=None, example={"b": 1})
        async def add(context: Context, body: Body) -> None: ...

        with pytest.raises(TypeError, match="example"):
            Api("x", "1", [add]).document()

    def test_an_unknown_role(self):
        with pytest.raises(ValueError, match="emperor"):
            operation("GET", "/x", summary="x", role="emperor")
