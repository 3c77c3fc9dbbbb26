"""Frozen dataclasses that cost little to define: what this package needs of `dataclasses`.

Theory of operation. `dataclasses` writes six methods for a class as text and compiles them when the
class is defined, half a millisecond for each of our hundred, and imports `inspect` and what that
imports. A daemon that is started from a hook has people waiting, so here only `__init__` is
compiled, and only when the first instance is made; the other methods are closures. Type checkers
see the real dataclasses, and at run time `dataclasses.fields`, `replace`, `asdict` and
`is_dataclass` work on these classes as on their own (tests/unit/test_record.py). The figures are
in docs/decisions/0010.

Taken over: `frozen` (always), `slots`, defaults, `field(init=False, compare=False, repr=False)`,
`__post_init__`, ClassVar, `__match_args__`. Not: inherited fields, mutable classes, ordering,
default factories.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, get_origin

__all__ = ["dataclass", "field", "fields", "is_dataclass", "replace"]

if TYPE_CHECKING:
    from dataclasses import dataclass, field, fields, is_dataclass, replace
else:

    def dataclass(*, frozen: bool, slots: bool = False) -> Callable[[type], type]:
        """As `dataclasses.dataclass`; `frozen=True` is expected."""
        if not frozen:
            msg = "frozen=False, expected frozen=True: records do not change"
            raise TypeError(msg)
        return lambda cls: _make_slotted(cls) if slots else _make_plain(cls)

    def field(*, init: bool, compare: bool, repr: bool) -> Any:  # noqa: A002 - as dataclasses has it
        """Mark a field that `__post_init__` derives from the others: no part of the value."""
        if init or compare or repr:
            msg = "field() with a True, expected init=False, compare=False, repr=False"
            raise TypeError(msg)
        return _DERIVED

    def fields(one: Any) -> tuple["Field", ...]:
        """The fields of a class or an instance, in their order."""
        return one.__record_fields__

    def is_dataclass(one: Any) -> bool:
        """Whether it is a class made here, or an instance of one."""
        return hasattr(one, "__record_fields__")

    def replace(one: Any, /, **changes: Any) -> Any:
        """A copy with some fields changed. Raises TypeError for a name that is no field."""
        for each in one.__record_fields__:
            if each.default is not _DERIVED and each.name not in changes:
                changes[each.name] = getattr(one, each.name)
        return type(one)(**changes)


_MISSING = object()
_DERIVED = object()
_CLASS_VAR: Any = ClassVar


class Field:
    """One field: its name, its type, and its default or one of the two marks."""

    __slots__ = ("default", "name", "type")

    def __init__(self, name: str, kind: object, default: object) -> None:
        self.name = name
        self.type = kind
        self.default = default


class _StandardFields:
    """`__dataclass_fields__` of a class, made when the real `dataclasses` asks for it."""

    def __get__(self, instance: object, owner: Any) -> object:
        import dataclasses  # noqa: PLC0415 - whoever asks has it already

        made: list[tuple[str, Any, Any]] = []
        for one in owner.__record_fields__:
            if one.default is _DERIVED:
                made.append((one.name, one.type, dataclasses.field(init=False, compare=False)))
            elif one.default is _MISSING:
                made.append((one.name, one.type, dataclasses.field()))
            else:
                made.append((one.name, one.type, dataclasses.field(default=one.default)))
        standard: Any = dataclasses.make_dataclass(owner.__name__, made, frozen=True)
        return standard.__dataclass_fields__


def _fields_of(cls: type) -> tuple[Field, ...]:
    return tuple(
        Field(name, kind, cls.__dict__.get(name, _MISSING))
        for name, kind in cls.__annotations__.items()
        if get_origin(kind) is not _CLASS_VAR
    )


def _make_plain(cls: Any) -> Any:
    made = _fields_of(cls)
    for one in made:
        if one.default is _DERIVED:
            delattr(cls, one.name)
    for name, value in _methods(cls, made).items():
        setattr(cls, name, value)
    return cls


def _make_slotted(cls: Any) -> Any:
    """Slots have to be there when a class is made: make it again."""
    made = _fields_of(cls)
    names = tuple(one.name for one in made)
    left_out = {*names, "__dict__", "__weakref__"}
    namespace = {name: value for name, value in cls.__dict__.items() if name not in left_out}
    namespace["__slots__"] = names
    again = type(cls)(cls.__name__, cls.__bases__, namespace)
    again.__qualname__ = cls.__qualname__
    for name, value in _methods(again, made).items():
        setattr(again, name, value)
    return again


def _methods(cls: type, made: tuple[Field, ...]) -> dict[str, object]:
    """What the class gets; what it has defined itself stays."""
    names = tuple(one.name for one in made if one.default is not _DERIVED)
    methods: dict[str, object] = {
        "__record_fields__": made,
        "__dataclass_fields__": _StandardFields(),
        "__match_args__": names,
        "__init__": _first_init(cls),
        "__repr__": _repr(names),
        "__reduce__": _reduce(names),
        "__setattr__": _refuse_to_set,
        "__delattr__": _refuse_to_delete,
        **_comparison(names),
    }
    own = cls.__dict__
    if "__eq__" in own and own.get("__hash__") is None:  # Python's, for a class with its own __eq__
        return {name: one for name, one in methods.items() if name == "__hash__" or name not in own}
    return {name: one for name, one in methods.items() if name not in own}


def _first_init(cls: Any) -> Callable[..., None]:
    def init(self: object, *arguments: object, **named: object) -> None:
        compiled = _compile_init(cls)
        cls.__init__ = compiled
        compiled(self, *arguments, **named)

    return init


def _compile_init(cls: Any) -> Callable[..., None]:
    """An `__init__` as one would write it: the names were checked by Python as identifiers."""
    scope: dict[str, Any] = {"__builtins__": {}, "_set": object.__setattr__}
    parameters, lines = [], []
    for one in cls.__record_fields__:
        if one.default is _DERIVED:
            continue
        if one.default is _MISSING:
            parameters.append(one.name)
        else:
            scope[f"_default_{one.name}"] = one.default
            parameters.append(f"{one.name}=_default_{one.name}")
        lines.append(f" _set(self, {one.name!r}, {one.name})\n")
    if hasattr(cls, "__post_init__"):
        lines.append(" self.__post_init__()\n")
    text = f"def __init__(self, {', '.join(parameters)}):\n{''.join(lines) or ' pass'}"
    exec(text, scope)  # noqa: S102 - of field names only, as dataclasses does
    compiled: Callable[..., None] = scope["__init__"]
    compiled.__qualname__ = f"{cls.__qualname__}.__init__"
    return compiled


def _comparison(names: tuple[str, ...]) -> dict[str, object]:
    values: Callable[[Any], object] = attrgetter(*names) if names else lambda _: ()

    def equal(self: object, other: object) -> Any:
        if other.__class__ is self.__class__:
            return values(self) == values(other)
        return NotImplemented

    def hash_of(self: object) -> int:
        return hash(values(self))

    return {"__eq__": equal, "__hash__": hash_of}


def _repr(names: tuple[str, ...]) -> Callable[[object], str]:
    def representation(self: object) -> str:
        inside = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__qualname__}({inside})"

    return representation


def _reduce(names: tuple[str, ...]) -> Callable[[object], tuple[type, tuple[object, ...]]]:
    def reduce(self: object) -> tuple[type, tuple[object, ...]]:
        return type(self), tuple(getattr(self, name) for name in names)

    return reduce


def _refuse_to_set(self: object, name: str, value: object) -> None:
    from dataclasses import FrozenInstanceError  # noqa: PLC0415 - for an error only

    msg = f"cannot assign to field {name!r}"
    raise FrozenInstanceError(msg)


def _refuse_to_delete(self: object, name: str) -> None:
    from dataclasses import FrozenInstanceError  # noqa: PLC0415 - for an error only

    msg = f"cannot delete field {name!r}"
    raise FrozenInstanceError(msg)
