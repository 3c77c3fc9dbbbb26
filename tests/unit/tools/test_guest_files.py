import os
import stat
from pathlib import Path

from tools.guest_files import libraries, project_files, with_parents

LDD = """\
\tlinux-vdso.so.1 (0x00007ffd8d5f2000)
\tlibelf.so.1 => /lib/x86_64-linux-gnu/libelf.so.1 (0x00007f2f1c0a0000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f2f1c2d0000)
\tstatically linked
"""


def test_the_libraries_of_a_program_are_what_ldd_names() -> None:
    names = ["/lib/x86_64-linux-gnu/libelf.so.1", "/lib64/ld-linux-x86-64.so.2"]
    assert libraries(LDD) == [Path(name) for name in names]


def test_each_file_comes_once_after_its_directories_with_mode_and_time(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    directory.mkdir(mode=0o750)
    program = directory / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    os.utime(program, (0, 1_000_000_000))
    found = list(with_parents([program, directory / "program"], "hot"))
    assert [file.path for file in found[-2:]] == [f"hot{directory}", f"hot{program}"]
    assert [file.path for file in found] == sorted({file.path for file in found})
    assert stat.S_ISDIR(found[-2].mode)
    assert stat.S_IMODE(found[-2].mode) == 0o750
    assert (found[-1].content, stat.S_IMODE(found[-1].mode)) == (b"#!/bin/sh\n", 0o755)
    assert found[-1].modified == 1_000_000_000


def test_a_link_comes_with_what_it_leads_to_and_a_linked_directory_is_none(tmp_path: Path) -> None:
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr/lib.1.2").write_text("code")
    (tmp_path / "usr/lib.1").symlink_to("lib.1.2")
    (tmp_path / "link").symlink_to("usr")  # as /lib is one to usr/lib
    found = {file.path: file for file in with_parents([tmp_path / "link/lib.1"], "hot")}
    assert f"hot{tmp_path}/link" not in found
    assert stat.S_ISLNK(found[f"hot{tmp_path}/usr/lib.1"].mode)
    assert found[f"hot{tmp_path}/usr/lib.1"].content == b"lib.1.2"
    assert found[f"hot{tmp_path}/usr/lib.1.2"].content == b"code"


def test_what_is_no_file_or_not_worth_the_memory_is_passed_over(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as stream:
        stream.truncate(1 << 30)
    os.mkfifo(tmp_path / "fifo")
    assert list(with_parents([large, tmp_path / "fifo", tmp_path / "absent"], "hot")) == []


def test_the_interpreter_its_library_and_the_checkout_are_among_the_files() -> None:
    names = {str(path) for path in project_files()}
    assert os.path.realpath("/proc/self/exe") in {os.path.realpath(name) for name in names}
    for end in ("/src/wg_dynamic/errors.py", "/asyncio/base_events.py", "/pytest/__init__.py"):
        assert any(name.endswith(end) for name in names), end
    assert not any("/mypy/" in name for name in names)
