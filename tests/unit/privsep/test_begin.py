import gc
import sys
from types import ModuleType

import pytest

from wg_dynamic.privsep.begin import begin


def test_the_module_that_is_named_is_imported_without_a_look_for_garbage_and_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[object] = []
    module = ModuleType("wg_network_of_a_test")

    def main(words: list[str]) -> int:
        seen.append((words, gc.isenabled()))
        return 7

    vars(module)["main"] = main
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert begin([module.__name__, "1,2,3", "stderr"]) == 7
    assert seen == [([module.__name__, "1,2,3", "stderr"], True)]


def test_a_module_that_is_not_there_is_a_bug() -> None:
    try:
        with pytest.raises(ModuleNotFoundError):
            begin(["wg_dynamic.no_such"])
    finally:
        gc.enable()
