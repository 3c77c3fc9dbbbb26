import errno

import pytest

from wg_dynamic.errors import PrivilegeError, WgDynamicError
from wg_dynamic.netlink.errors import (
    InterfaceNotFoundError,
    MalformedMessageError,
    NetlinkError,
    error_from_errno,
)


def test_an_error_says_what_was_asked_and_what_the_kernel_said() -> None:
    error = NetlinkError(errno.EINVAL, "add route", "Invalid prefsrc address")
    assert str(error) == "add route: Invalid argument (Invalid prefsrc address)"
    assert str(NetlinkError(errno.EEXIST, "add route")) == "add route: File exists"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.EPERM, PrivilegeError),
        (errno.EACCES, NetlinkError),
        (errno.ENODEV, InterfaceNotFoundError),
        (errno.EINVAL, NetlinkError),
    ],
)
def test_the_kind_of_an_error_follows_from_its_number(
    code: int, kind: type[WgDynamicError]
) -> None:
    error = error_from_errno(code, "do it", "because")
    assert type(error) is kind
    assert str(error).startswith("do it: ")


def test_what_cannot_be_parsed_is_a_netlink_error_of_its_own() -> None:
    error = MalformedMessageError("1 byte, expected 4")
    assert isinstance(error, NetlinkError)
    assert error.errno == errno.EBADMSG
    assert error.ack == "1 byte, expected 4"
