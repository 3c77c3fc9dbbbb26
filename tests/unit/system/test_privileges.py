"""Accounts; becoming one for real is tests/integration/test_privileges.py."""

import os
import pwd
import resource

import pytest

from wg_dynamic.errors import ConfigError, PrivilegeError
from wg_dynamic.system.privileges import (
    ACCOUNT,
    FALLBACK_ID,
    Account,
    raise_file_limit,
    require_root,
    service_account,
)


def an_entry(name: str, uid: int, gid: int) -> pwd.struct_passwd:
    return pwd.struct_passwd((name, "x", uid, gid, "", "/", "/usr/sbin/nologin"))


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> dict[str, pwd.struct_passwd]:
    """The accounts of this machine: none, until a test adds one."""
    known: dict[str, pwd.struct_passwd] = {}
    monkeypatch.setattr(pwd, "getpwnam", known.__getitem__)
    return known


def test_the_account_of_the_package_is_used(accounts: dict[str, pwd.struct_passwd]) -> None:
    accounts[ACCOUNT] = an_entry(ACCOUNT, 990, 980)
    assert service_account(None) == Account(990, 980)


def test_without_it_a_number_is_used(accounts: dict[str, pwd.struct_passwd]) -> None:
    assert service_account(None) == Account(FALLBACK_ID, FALLBACK_ID)


def test_another_account_may_be_named(accounts: dict[str, pwd.struct_passwd]) -> None:
    accounts["vpn"] = an_entry("vpn", 991, 981)
    assert service_account("vpn") == Account(991, 981)


def test_an_account_that_is_not_there_is_refused(accounts: dict[str, pwd.struct_passwd]) -> None:
    with pytest.raises(ConfigError, match="no account 'vpn' on this machine"):
        service_account("vpn")


@pytest.mark.parametrize(("uid", "gid"), [(0, 0), (0, 981), (991, 0)])
def test_an_account_with_rights_of_root_is_refused(
    accounts: dict[str, pwd.struct_passwd], uid: int, gid: int
) -> None:
    accounts["toor"] = an_entry("toor", uid, gid)
    with pytest.raises(ConfigError, match="expected one without privileges"):
        service_account("toor")


def test_root_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    require_root("wg-dynamic-client")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(PrivilegeError, match="runs as user 1000, expected root"):
        require_root("wg-dynamic-client")


def test_the_file_limit_is_raised_to_what_is_allowed() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        assert raise_file_limit() == hard
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
