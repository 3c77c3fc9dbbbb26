from pathlib import Path

from tools.packages import merge


def test_files_move_to_where_a_merged_system_has_them(tmp_path: Path) -> None:
    for name in ("sbin/tool", "lib/tool/part", "usr/lib/other", "etc/tool.conf"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    merge(tmp_path)
    files = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {"usr/sbin/tool", "usr/lib/tool/part", "usr/lib/other", "etc/tool.conf"}
    assert {p.name for p in tmp_path.iterdir()} == {"usr", "etc"}
