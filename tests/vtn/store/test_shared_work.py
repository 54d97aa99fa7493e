"""Work that many submitters share: one call for all, and nobody suffers for another's item."""

import asyncio

from sqlalchemy import insert, select

from core.errors import ConflictError, InvalidError
from vtn.store.tables import group as ven_group
from vtn.store.writer import GroupWriter


class Adding:
    """Shared work that adds groups, and remembers with which items it was called."""

    def __init__(self):
        self.calls = []

    async def add(self, tx, names):
        self.calls.append(dict(names))
        good = {key: name for key, name in names.items() if name != "refused"}
        await tx.conn.execute(insert(ven_group), [{"id": key, "name": name} for key, name in good.items()])
        return {key: InvalidError("refused") if key not in good else key.upper() for key in names}


async def submitted(database, adding, *items):
    writer = GroupWriter(database)
    await writer.start()
    jobs = [writer.submit_to(adding.add, key, item) for key, item in items]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    await writer.close()
    async with database.read() as conn:
        return results, set(await conn.scalars(select(ven_group.c.id)))


async def test_the_items_of_a_batch_go_to_one_call(database):
    adding = Adding()
    results, stored = await submitted(database, adding, *((f"g{number}", f"name {number}") for number in range(50)))
    assert results == [f"G{number}" for number in range(50)]
    assert stored == {f"g{number}" for number in range(50)}
    assert len(adding.calls) == 1


async def test_what_is_wrong_with_one_item_is_told_to_its_submitter_alone(database):
    adding = Adding()
    results, stored = await submitted(database, adding, ("a", "one"), ("b", "refused"), ("c", "three"))
    assert (results[0], str(results[1]), results[2]) == ("A", "refused", "C")
    assert stored == {"a", "c"}
    assert len(adding.calls) == 1


async def test_a_call_that_fails_is_made_again_for_each_item_alone(database):
    adding = Adding()
    results, stored = await submitted(database, adding, ("a", "same"), ("b", "other"), ("c", "same"))
    assert results[:2] == ["A", "B"]
    assert isinstance(results[2], ConflictError)
    assert stored == {"a", "b"}
    assert [set(call) for call in adding.calls] == [{"a", "b", "c"}, {"a"}, {"b"}, {"c"}]


async def test_two_items_of_one_submitter_keep_their_order(database):
    adding = Adding()
    results, stored = await submitted(database, adding, ("a", "first"), ("b", "other"), ("a", "second"))
    assert results[:2] == ["A", "B"]
    assert isinstance(results[2], ConflictError)
    assert stored == {"a", "b"}
    assert adding.calls == [{"a": "first", "b": "other"}, {"a": "second"}]
