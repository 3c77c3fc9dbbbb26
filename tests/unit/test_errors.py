"""One root for every exception that is raised on purpose."""

import importlib
import inspect
import pkgutil

import pytest

import wg_dynamic
from wg_dynamic.errors import ConfigError, PrivilegeError, WgDynamicError


@pytest.mark.parametrize("error", [ConfigError, PrivilegeError])
def test_what_is_raised_on_purpose_has_one_root(error: type[Exception]) -> None:
    assert issubclass(error, WgDynamicError)
    assert str(error("got 7, expected 8")) == "got 7, expected 8"


def test_every_public_exception_of_the_package_has_that_root() -> None:
    for module in pkgutil.walk_packages(wg_dynamic.__path__, "wg_dynamic."):
        for name, value in vars(importlib.import_module(module.name)).items():
            ours = inspect.isclass(value) and value.__module__ == module.name
            if ours and issubclass(value, BaseException) and not name.startswith("_"):
                assert issubclass(value, WgDynamicError), f"{module.name}.{name}"
                assert name.endswith("Error"), f"{module.name}.{name}"
