"""Ask the hub of a WireGuard interface for a lease and print it.

    python3 ask_for_a_lease.py wg0 fe80::7

The interface has that link-local address and a peer with fe80::/128. Root: the port is below 1024.
"""

import socket
import sys

from wg_dynamic.protocol import PORT, ClientConnection, ConnectionClosed, RequestIP, RequestIPReply


def ask(interface: str, source: str) -> RequestIPReply:
    """One request, one reply. Raises OSError, ConnectionError."""
    wire, scope = ClientConnection(), socket.if_nametoindex(interface)
    with socket.socket(socket.AF_INET6) as hub:
        hub.settimeout(10)
        hub.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        hub.bind((source, PORT, 0, scope))
        hub.connect(("fe80::", PORT, 0, scope))
        hub.sendall(wire.send(RequestIP()))
        while True:
            if data := hub.recv(65536):
                wire.receive_data(data)
            else:
                wire.receive_eof()
            while (event := wire.next_event()) is not None:
                if isinstance(event, RequestIPReply):
                    return event
                what = "closed" if isinstance(event, ConnectionClosed) else repr(event)
                raise ConnectionError(what)


if __name__ == "__main__":
    reply = ask(sys.argv[1], sys.argv[2])
    for one in reply.addresses:
        print(f"{one.ip} for {one.valid_time} s, to be renewed")
    sys.exit(f"error {reply.errno}: {reply.errmsg}" if reply.errno else 0)
