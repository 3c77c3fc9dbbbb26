"""wg-dynamic: addresses, routes and, later, each other, for WireGuard peers.

The map of the package is docs/architecture.md; the wire is docs/protocol.md.
"""

__version__ = "0.1.0.dev0"
