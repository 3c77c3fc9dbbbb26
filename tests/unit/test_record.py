import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from wg_dynamic import record


def _define(dataclass: Any, field: Callable[..., Any], *, slots: bool) -> type:
    """The same class by `dataclasses` and by us."""

    class Point:
        kind: ClassVar[str] = "point"

        x: int
        y: int = 2
        name: str = "here"
        length: Any = field(init=False, compare=False, repr=False)

        def __post_init__(self) -> None:
            if self.x < 0:
                msg = f"{self.x} is below 0"
                raise ValueError(msg)
            object.__setattr__(self, "length", self.x + self.y)

    made: type = dataclass(frozen=True, slots=slots)(Point)
    return made


_STANDARD: dict[bool, Any] = {
    slots: _define(dataclasses.dataclass, dataclasses.field, slots=slots) for slots in (True, False)
}
_OURS: dict[bool, Any] = {
    slots: _define(record.dataclass, record.field, slots=slots) for slots in (True, False)
}


@record.dataclass(frozen=True, slots=True)
class Pair:
    left: int
    right: str = "r"


@record.dataclass(frozen=True, slots=True)
class Nothing:
    pass


@record.dataclass(frozen=True)
class AlwaysEqual:
    x: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AlwaysEqual)

    def __hash__(self) -> int:
        return 7

    def __repr__(self) -> str:
        return "mine"


@record.dataclass(frozen=True)
class EqualByItself:  # noqa: PLW1641 - Python takes __hash__ away; a record brings one
    x: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EqualByItself) and self.x == other.x


@pytest.mark.parametrize("slots", [True, False])
class TestAsDataclassesDoes:
    def test_arguments_defaults_and_repr(self, slots: bool) -> None:
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
            ((1,), {}),
            ((1, 5), {"name": "n"}),
            ((), {"x": 7}),
        ]
        for arguments, named in calls:
            theirs = _STANDARD[slots](*arguments, **named)
            ours = _OURS[slots](*arguments, **named)
            assert repr(ours) == repr(theirs)
            assert (ours.x, ours.y, ours.name, ours.length, ours.kind) == (
                theirs.x,
                theirs.y,
                theirs.name,
                theirs.length,
                theirs.kind,
            )

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [((), {}), ((1, 2, "n", 4), {}), ((1,), {"x": 1}), ((1,), {"length": 1})],
    )
    def test_wrong_arguments_are_the_same_type_error(
        self, slots: bool, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> None:
        texts = []
        for cls in (_STANDARD[slots], _OURS[slots]):
            with pytest.raises(TypeError) as caught:
                cls(*arguments, **named)
            texts.append(str(caught.value))
        assert texts[0] == texts[1]

    def test_equality_and_hash_go_by_class_and_compared_fields(self, slots: bool) -> None:
        cls = _OURS[slots]
        assert cls(1) == cls(1, 2)
        assert hash(cls(1)) == hash(cls(1, 2))
        assert cls(1) != cls(2)
        assert cls(1) != _OURS[not slots](1)
        assert cls(1) != (1, 2, "here")

    def test_nothing_can_be_set_or_deleted(self, slots: bool) -> None:
        for cls in (_STANDARD[slots], _OURS[slots]):
            one = cls(1)
            with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'x'"):
                one.x = 2
            with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'x'"):
                del one.x
            assert one == cls(1)

    def test_post_init_may_refuse_the_first_and_any_instance(self, slots: bool) -> None:
        fresh: Any = _define(record.dataclass, record.field, slots=slots)
        for _ in range(2):
            with pytest.raises(ValueError, match="-1 is below 0"):
                fresh(-1)
        assert fresh(1).length == 3

    def test_replace_makes_a_checked_copy(self, slots: bool) -> None:
        one = _OURS[slots](1, 5)
        assert record.replace(one, x=4) == _OURS[slots](4, 5)
        assert dataclasses.replace(one, x=4).length == 9
        with pytest.raises(ValueError, match="below 0"):
            record.replace(one, x=-4)
        with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
            record.replace(one, z=4)

    def test_the_standard_functions_work(self, slots: bool) -> None:
        theirs, ours = _STANDARD[slots](1), _OURS[slots](1)
        standard: Any = dataclasses
        assert standard.is_dataclass(ours)
        assert standard.asdict(ours) == standard.asdict(theirs)
        named = [[(f.name, f.type, f.init) for f in dataclasses.fields(x)] for x in (ours, theirs)]
        assert named[0] == named[1]
        assert [one.name for one in record.fields(ours)] == ["x", "y", "name", "length"]

    def test_patterns_see_the_same_positions(self, slots: bool) -> None:
        match _OURS[slots](1, 2):
            case _ as one:
                assert one.__match_args__ == ("x", "y", "name")

    def test_slots_leave_no_dict(self, slots: bool) -> None:
        assert hasattr(_OURS[slots](1), "__dict__") is not slots


def test_copies_and_pickles() -> None:
    pair = Pair(1)
    for again in (copy.copy(pair), copy.deepcopy(pair), pickle.loads(pickle.dumps(pair))):  # noqa: S301
        assert again == pair


def test_a_record_may_have_no_field() -> None:
    assert Nothing() == Nothing()
    assert hash(Nothing()) == hash(Nothing())
    assert repr(Nothing()) == "Nothing()"
    assert record.replace(Nothing()) == Nothing()


def test_what_a_class_defines_itself_stays() -> None:
    assert AlwaysEqual(1) == AlwaysEqual(2)
    assert repr(AlwaysEqual(1)) == "mine"
    assert hash(AlwaysEqual(1)) == 7
    assert hash(EqualByItself(1)) == hash(EqualByItself(1))
    assert EqualByItself(1) != EqualByItself(2)


def test_a_subclass_without_fields_is_made_like_its_record() -> None:
    class Named(Pair):
        pass

    assert Named(1).right == "r"
    assert Pair(1).right == "r"
    assert Named(1) != Pair(1)


def test_only_classes_made_here_are_records() -> None:
    assert record.is_dataclass(Pair)
    assert record.is_dataclass(Pair(1))
    assert not record.is_dataclass(int)


def test_what_is_not_supported_is_refused_at_the_definition() -> None:
    with pytest.raises(TypeError, match="expected frozen=True"):
        record.dataclass(frozen=False)
    with pytest.raises(TypeError, match="expected init=False"):
        record.field(init=True, compare=False, repr=False)
