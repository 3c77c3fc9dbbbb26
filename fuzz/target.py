"""What a target is, which there are, and what each of them has to begin with."""

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol, cast

from fuzz.examples import read_examples

HERE: Final = Path(__file__).parent
CORPUS: Final = HERE / "corpus"
"""What fuzzing has found worth keeping, a file for each target, made by `fuzz.campaign --keep`."""
FOUND: Final = HERE / "found"
"""What once crashed, a file for each target that had a fault, kept by hand."""
NAMES: Final = tuple(sorted(path.stem for path in (HERE / "targets").glob("[a-z]*.py")))


class Target(Protocol):
    """A module in `fuzz.targets`: its first lines say what has to hold."""

    MAX_SIZE: int
    """Bytes of one input, at most."""
    PARSERS: Sequence[str]
    """The modules that it is there for: their coverage is recorded."""

    @property
    def check(self) -> Callable[[bytes], None]:
        """Run it once. Any exception is a fault."""

    @property
    def seeds(self) -> Callable[[], Iterable[bytes]]:
        """Real input, from documents, captures and the code's own encoders."""

    @property
    def words(self) -> Callable[[], Iterable[bytes]]:
        """What a fuzzer puts in to come further: names and values."""


def load(name: str) -> Target:
    """The target of that name."""
    return cast("Target", import_module(f"fuzz.targets.{name}"))


def examples(name: str) -> list[bytes]:
    """All that a target begins with, each once."""
    kept = [*read_examples(FOUND / f"{name}.txt"), *read_examples(CORPUS / f"{name}.txt")]
    return list(dict.fromkeys([*load(name).seeds(), *kept]))
