"""The root of every exception that this package raises on purpose.

- WgDynamicError
    - ConfigError: what the user asked for cannot be done as it stands
        - UsageError: it makes no sense, on whatever machine: options, configuration file
    - PrivilegeError: the kernel or the helper refuses what needs a right we lack
    - protocol.errors.ProtocolError: Local (our bug) and Remote (the other side's)
    - store.base.StoreError: conflict, schema, unavailable
    - netlink.errors.NetlinkError: the kernel said no; keeps errno and extended ack
    - wireguard.control.WireGuardError: interface or peer not found, not WireGuard

Messages are lower case without a full stop and say what came, what was expected and, where a
person can act on it, what to do. They never hold a secret key.
"""


class WgDynamicError(Exception):
    """Base of all exceptions raised on purpose."""


class ConfigError(WgDynamicError):
    """The configuration, the command line or the interface does not qualify."""


class UsageError(ConfigError):
    """The command line or the configuration file is wrong by itself. One line for each fault."""


class PrivilegeError(WgDynamicError):
    """An operation needs a privilege that this process does not have."""
