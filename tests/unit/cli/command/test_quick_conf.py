from pathlib import Path

import pytest

from wg_dynamic.cli.command.quick_conf import QuickConf
from wg_dynamic.errors import UsageError
from wg_dynamic.helper.config import file as file_module


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> QuickConf:
    monkeypatch.setattr(file_module, "_refuse_foreign", lambda *_: None)
    return QuickConf("wg0", tmp_path)


def test_it_is_wg_quick_s_file() -> None:
    assert QuickConf("wg0").path == Path("/etc/wireguard/wg0.conf")


def test_without_a_file_there_is_no_text(conf: QuickConf) -> None:
    assert not conf.exists
    assert conf.read() == ""


def test_bytes_that_are_no_utf_8_stay(conf: QuickConf) -> None:
    conf.path.write_bytes(b"# caf\xe9\n[Interface]\n")
    conf.path.chmod(0o640)
    assert conf.exists
    text = conf.read()
    conf.replace(text, f"{text}# more\n")
    assert conf.path.read_bytes() == b"# caf\xe9\n[Interface]\n# more\n"
    assert conf.path.stat().st_mode & 0o777 == 0o640


def test_what_somebody_else_has_written_meanwhile_stays(conf: QuickConf) -> None:
    conf.path.write_text("[Interface]\n")
    text = conf.read()
    conf.path.write_text("[Interface]\nMTU = 1400\n")
    with pytest.raises(UsageError, match="was changed by somebody else"):
        conf.replace(text, "mine")
    assert conf.path.read_text() == "[Interface]\nMTU = 1400\n"


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wg0.conf"
    path.write_text("PostUp = x\n")
    path.chmod(0o666)
    with pytest.raises(UsageError):
        QuickConf("wg0", tmp_path).read()
