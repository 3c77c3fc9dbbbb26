from wg_dynamic.privsep.system_calls import ARCHITECTURES, NUMBERS


def test_each_number_stands_once_on_each_machine() -> None:
    for column in range(2):
        numbers = [pair[column] for pair in NUMBERS.values() if pair[column] is not None]
        assert len(numbers) == len(set(numbers))


def test_each_machine_has_a_column() -> None:
    assert {column for _, column in ARCHITECTURES.values()} == {0, 1}
