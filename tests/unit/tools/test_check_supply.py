import pytest

from tools.check_supply import about_imports, about_lock, about_metadata, named_tools, requirements

HASH = "--hash=sha256:" + "0a" * 32
GOOD = f"""\
# a comment
first-tool==1.2.3 \\
    {HASH} \\
    {HASH}
    # via second
Second_Tool==2026.1.post1 ; sys_platform == 'linux' and python_version < '4' \\
    {HASH}
"""


def test_a_lock_with_a_version_and_hashes_for_each_passes() -> None:
    assert len(requirements(GOOD)) == 2
    assert list(about_lock(GOOD, ["first_tool", "second.tool"])) == []


@pytest.mark.parametrize(
    "line",
    [
        "tool==1.0",
        f"tool>=1.0 {HASH}",
        f"tool {HASH}",
        f"tool==1.0 {HASH[:-1]}",
        "tool==1.0 --hash=md5:" + "0a" * 16,
        f"tool==1.* {HASH}",
        f"tool @ https://example.org/tool.whl {HASH}",
        "-e .",
        "--index-url https://example.org/simple",
        "git+https://example.org/tool",
    ],
)
def test_whatever_is_not_locked_to_one_content_is_found(line: str) -> None:
    (found,) = about_lock(f"{GOOD}{line}\n", [])
    assert "expected NAME==VERSION" in found


def test_a_tool_that_is_named_and_not_locked_is_found() -> None:
    assert list(about_lock(GOOD, ["third"])) == [
        "third is not locked, expected it to be: make lock"
    ]


def test_the_tools_of_all_groups_and_of_the_build_are_named() -> None:
    settings = {
        "build-system": {"requires": ["hatchling"]},
        "dependency-groups": {
            "test": ["pytest", "coverage[toml]>=7"],
            "dev": [{"include-group": "test"}, "atheris==3.0.0; sys_platform == 'linux'"],
        },
    }
    assert list(named_tools(settings)) == ["pytest", "coverage", "atheris", "hatchling"]


@pytest.mark.parametrize(
    "content",
    ["import requests", "def f():\n    from yaml import safe_load", "import os, six.moves"],
)
def test_an_import_from_elsewhere_is_found_wherever_it_stands(content: str) -> None:
    (found,) = about_imports("x.py", content)
    assert "expected the standard library only" in found


def test_the_standard_library_and_our_own_modules_may_be_imported() -> None:
    content = "import os.path\nfrom wg_dynamic.errors import WgDynamicError\nfrom . import x\n"
    assert list(about_imports("x.py", content)) == []


def test_one_module_may_import_one_thing_more() -> None:
    drawing = "src/wg_dynamic/cli/command/qr_child.py"
    assert list(about_imports(drawing, "import segno\n")) == []
    (found,) = about_imports(drawing, "import segno, qrcode\n")
    assert "imports qrcode" in found
    (found,) = about_imports("src/wg_dynamic/cli/command/peer.py", "import segno\n")
    assert "imports segno" in found


def test_a_wheel_that_requires_something_is_found() -> None:
    metadata = "Metadata-Version: 2.4\nName: x\nRequires-Dist: six>=1\n\nRequires-Dist: in the text"
    assert list(about_metadata(metadata)) == ["the wheel requires six>=1, expected nothing"]
    assert list(about_metadata("Metadata-Version: 2.4\nName: x\n")) == []
