from core.direction import Direction


def test_signs_and_opposites():
    assert [each.sign for each in Direction] == [-1, 1]
    assert [each.opposite for each in Direction] == [Direction.INCREASE, Direction.REDUCE]
    assert Direction("reduce") is Direction.REDUCE
