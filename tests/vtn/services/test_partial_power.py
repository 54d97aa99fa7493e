import pytest

from core.errors import InvalidError, NotFoundError
from vtn.services import partial_power
from vtn.services.partial_power import MOST_W, PartialPower


@pytest.mark.parametrize(
    ("minimum_w", "step_w"), [(0, 0), (100, 0), (100, -50), (50, 100), (150, 100), (MOST_W + 1, 1)]
)
def test_levels_are_whole_steps_above_zero(minimum_w: int, step_w: int):
    with pytest.raises(InvalidError):
        PartialPower(minimum_w, step_w)


async def test_levels_are_kept_told_and_forgotten(world):
    one, other = await world.ven(), await world.ven()
    levels = PartialPower(1380, 230)
    for said in (levels, levels, None):
        async with world.tx() as tx:
            await partial_power.set_partial_power(tx, one.ven_id, said, world.now, who="operator")
        async with world.db.read() as conn:
            assert await partial_power.partial_power_of(conn, one.ven_id) == said
            known = await partial_power.of_vens(conn, [one.ven_id, other.ven_id])
        assert known == ({} if said is None else {one.ven_id: said})
    changes = [row for row in await world.rows("audit") if row.action == "set partial power"]
    assert len(changes) == 2


async def test_an_unknown_ven_has_no_levels(world):
    async with world.tx() as tx:
        with pytest.raises(NotFoundError):
            await partial_power.set_partial_power(tx, "nobody", PartialPower(5, 5), world.now, who="operator")
