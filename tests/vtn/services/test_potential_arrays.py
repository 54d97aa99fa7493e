"""The whole fleet's potentials as arrays (vtn.services.potential_arrays)."""

from datetime import timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from support.vtn_world import NOON
from vtn.services import potential, potential_arrays
from vtn.services.potential import Figures
from vtn.services.potential_arrays import Batch
from vtn.store.tables import ven

START_S = int(NOON.timestamp())


def figures(
    resource: str, *p50: float, direction: str = "reduce", start_s: int = START_S, step_s: int = 1800
) -> Figures:
    return Figures(resource, direction, start_s, step_s, *(tuple(part * w for w in p50) for part in (0.5, 1.0, 2.0)))


async def test_rows_whose_steps_coincide_come_together(any_world):
    one, two, three = await any_world.vens(3)
    async with any_world.tx() as tx:
        both = [figures("a", 100, 200), figures("a", 7, 8, direction="increase")]
        await potential.derived(tx, one.ven_id, both, NOON)
        await potential.derived(tx, two.ven_id, [figures("a", 300.5, 400)], NOON)
        await potential.derived(tx, three.ven_id, [figures("a", 1, 2, 3), figures("b", 5, step_s=900)], NOON)
        later = NOON + timedelta(minutes=5)
        await potential.derived(tx, two.ven_id, [figures("a", 310.5, 410)], later)  # what was said before is history
    async with any_world.db.read() as conn:
        every = await potential_arrays.batches(conn)
        reduce = await potential_arrays.batches(
            conn, direction="reduce", ven_ids=select(ven.c.id).where(ven.c.id != three.ven_id)
        )
    shapes = {(one.direction, one.step_s, one.values_w.shape) for one in every}
    assert shapes == {
        ("reduce", 1800, (2, 3, 2)),
        ("increase", 1800, (1, 3, 2)),
        ("reduce", 1800, (1, 3, 3)),
        ("reduce", 900, (1, 3, 1)),
    }
    (batch,) = reduce
    assert batch.ven_ids == (one.ven_id, two.ven_id)
    assert batch.values_w.tolist() == [
        [[50, 100], [100, 200], [200, 400]],
        [[155.25, 205], [310.5, 410], [621, 820]],
    ]
    assert batch.sources == ("history", "history")
    assert batch.issued_at.tolist() == [NOON.timestamp(), later.timestamp()]
    assert batch.too_old(NOON + timedelta(hours=36, minutes=1)).tolist() == [True, False]


async def test_nobody_says_anything(world):
    async with world.db.read() as conn:
        assert await potential_arrays.batches(conn) == []


def batch_of(values: list[float], start_s: int, step_s: int) -> Batch:
    rows = np.array([[values] * 3])
    return Batch("reduce", start_s, step_s, ("v",), ("ven",), np.array([0.0]), np.array([1.0]), rows)


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=12),
    st.integers(0, 50),
    st.integers(1, 20),
    st.integers(0, 120),
    st.integers(1, 20),
    st.integers(1, 12),
)
def test_mean_powers_are_those_of_every_second(values, start_s, step_s, from_s, width_s, count):
    batch = batch_of(values, start_s, step_s)
    edges_s = from_s + width_s * np.arange(count + 1, dtype=np.int64)
    seconds = np.zeros(1000)
    for number, value in enumerate(values):
        seconds[start_s + number * step_s : start_s + (number + 1) * step_s] = value
    means = [seconds[first : first + width_s].mean() for first in edges_s[:-1]]
    assert np.allclose(batch.values_w[0, 1] @ batch.shares(edges_s), means)
    assert batch.end_s == start_s + step_s * len(values)
