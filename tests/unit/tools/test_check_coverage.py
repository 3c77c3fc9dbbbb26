from typing import Any

import pytest

from tools.check_coverage import complaints, dotted, pure_modules


def report(total: float, **files: float) -> dict[str, Any]:
    return {
        "totals": {"percent_covered": total},
        "files": {
            f"/a/src/wg_dynamic/{name.replace('__', '/')}.py": {
                "summary": {"percent_covered": percent},
                "missing_lines": [] if percent > 99 else [3, 4],
                "missing_branches": [[1, 2]],
            }
            for name, percent in files.items()
        },
    }


def test_a_pure_module_below_one_hundred_percent_is_named_with_its_lines() -> None:
    found = list(complaints(report(95, protocol__codec=90.0), ["wg_dynamic.protocol"], 90))
    assert found == ["/a/src/wg_dynamic/protocol/codec.py: pure, but covered to 90.0 % only: 3, 4"]


def test_a_missing_branch_alone_counts_too() -> None:
    found = list(complaints(report(95, protocol__codec=99.5), ["wg_dynamic.protocol.codec"], 90))
    assert [line.rpartition(" ")[2] for line in found] == ["1->2"]


def test_other_modules_count_only_all_together() -> None:
    measured = report(89.9, protocols=10.0, store__sqlite=50.0)
    assert list(complaints(measured, ["wg_dynamic.protocol"], 90)) == [
        "all together are covered to 89.9 %, expected 90 %"
    ]


def test_a_package_is_named_by_its_init() -> None:
    assert dotted("src/wg_dynamic/store/__init__.py") == "wg_dynamic.store"


def test_the_contract_names_the_pure_modules() -> None:
    contracts = [{"id": "layers"}, {"id": "pure", "source_modules": ["a", "b"]}]
    assert pure_modules({"tool": {"importlinter": {"contracts": contracts}}}) == ["a", "b"]
    with pytest.raises(SystemExit):
        pure_modules({"tool": {"importlinter": {"contracts": []}}})
