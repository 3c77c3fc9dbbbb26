"""The wg-dynamic protocol: bytes to messages and back, without any I/O (docs/protocol.md).

Made for use in other programs too: it needs nothing but the standard library and
`wg_dynamic.errors`, opens no socket, reads no clock, draws no random numbers and logs nothing.

    >>> from wg_dynamic.protocol import ClientConnection, RequestIP, ServerConnection
    >>> client, server = ClientConnection(), ServerConnection()
    >>> server.receive_data(client.send(RequestIP(id=7)))
    >>> server.next_event().id
    7
"""

from wg_dynamic.protocol.buffer import MessageBuffer
from wg_dynamic.protocol.codec import (
    decode_reply,
    decode_request,
    encode_message,
    encode_refusal,
)
from wg_dynamic.protocol.connection import (
    ClientConnection,
    ClientEvent,
    ConnectionClosed,
    ConnectionFailed,
    RequestRefused,
    ServerConnection,
    ServerEvent,
    VersionRefused,
)
from wg_dynamic.protocol.errors import (
    ErrorCode,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
)
from wg_dynamic.protocol.messages import (
    ANY_IPV4,
    ANY_IPV6,
    Ack,
    Address,
    DeclineIP,
    DeclineIPReply,
    Dns,
    ErrorReply,
    LeasedAddress,
    Message,
    Network,
    Ping,
    Pong,
    ReleaseIP,
    ReleaseIPReply,
    Reply,
    Request,
    RequestIP,
    RequestIPReply,
    Route,
    Subscribe,
    SubscribeReply,
    Update,
    host_network,
)
from wg_dynamic.protocol.schema import FOREVER, MAX_LINE_SIZE, MAX_MESSAGE_SIZE, PORT

__all__ = [
    "ANY_IPV4",
    "ANY_IPV6",
    "FOREVER",
    "MAX_LINE_SIZE",
    "MAX_MESSAGE_SIZE",
    "PORT",
    "Ack",
    "Address",
    "ClientConnection",
    "ClientEvent",
    "ConnectionClosed",
    "ConnectionFailed",
    "DeclineIP",
    "DeclineIPReply",
    "Dns",
    "ErrorCode",
    "ErrorReply",
    "LeasedAddress",
    "LocalProtocolError",
    "Message",
    "MessageBuffer",
    "Network",
    "Ping",
    "Pong",
    "ProtocolError",
    "ReleaseIP",
    "ReleaseIPReply",
    "RemoteProtocolError",
    "Reply",
    "Request",
    "RequestIP",
    "RequestIPReply",
    "RequestRefused",
    "Route",
    "ServerConnection",
    "ServerEvent",
    "Subscribe",
    "SubscribeReply",
    "Update",
    "VersionRefused",
    "decode_reply",
    "decode_request",
    "encode_message",
    "encode_refusal",
    "host_network",
]
