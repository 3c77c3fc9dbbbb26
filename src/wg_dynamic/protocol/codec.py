"""Messages to bytes and back: which version a message is in, and whose fault a fault is.

`encode_message` raises LocalProtocolError only, the decoders RemoteProtocolError only, whatever
the bytes. docs/protocol.md sections 3 to 6.
"""

from typing import Any, Final, cast

from wg_dynamic.protocol import version1, version2
from wg_dynamic.protocol.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from wg_dynamic.protocol.messages import (
    ErrorReply,
    Message,
    Reply,
    Request,
    RequestIP,
    RequestIPReply,
    Update,
)
from wg_dynamic.protocol.schema import (
    COMMANDS,
    CRITICAL,
    FROM_CLIENT,
    FROM_SERVER,
    ID,
    MAX_WISHES,
    SECTION,
    UNKNOWN,
    VERSION_1,
    VERSION_2,
    MessageSpec,
)
from wg_dynamic.protocol.values import is_name, parse_address, parse_loose_number, parse_value

_VERSION_2: Final = str(VERSION_2)


def encode_message(
    message: Message, *, version: int = VERSION_2, early_draft: bool = False
) -> bytes:
    """The bytes of one message, several joined if it needs `more=1` (docs/protocol.md 6.5).

    Args:
        message: a RequestIP or RequestIPReply is encoded in the version it names.
        version: for an ErrorReply only: the version of the request it answers.
        early_draft: a reply of version 1 in the form of its early draft (5.6).

    Raises:
        LocalProtocolError: the message breaks a rule of docs/protocol.md.
    """
    try:
        return _encode(message, version, early_draft=early_draft).encode("ascii")
    except ValueError as error:
        msg = f"{type(message).__name__}: {error}"
        raise LocalProtocolError(msg) from error


def _encode(message: Message, version: int, *, early_draft: bool) -> str:
    if type(message) is RequestIPReply and message.version == VERSION_2:
        text = version2.encode_usual(message)
        if text:
            return text
    if isinstance(message, ErrorReply) and version == VERSION_1:
        message = RequestIPReply(version=1, errno=message.errno, errmsg=message.errmsg)
    if isinstance(message, RequestIP) and message.version == VERSION_1:
        return version1.encode_request(message)
    if isinstance(message, RequestIPReply) and message.version == VERSION_1:
        return version1.encode_reply(message, early_draft=early_draft)
    if message.version != VERSION_2:
        msg = f"version {message.version}, expected 1 or 2"
        raise ValueError(msg)
    if isinstance(message, RequestIP) and message.early_draft:
        msg = "early_draft in version 2"
        raise ValueError(msg)
    if isinstance(message, RequestIPReply) and message.lease_start is not None:
        msg = "lease_start in version 2"
        raise ValueError(msg)
    return version2.encode(message)


def encode_refusal(error: RemoteProtocolError) -> bytes:
    """The bytes that answer a fault found in a request.

    In version 2's form when the fault was found in a command of version 2, else in version 1's,
    which clients of any version understand (docs/protocol.md section 8).
    """
    if error.command is None:
        code = error.code.in_version_1 if isinstance(error.code, ErrorCode) else error.code
        return encode_message(RequestIPReply(version=1, errno=code))
    return encode_message(
        ErrorReply(error.command, error.request_id, errno=error.code, errmsg=error.text)
    )


def decode_request(message: bytes) -> Request:
    r"""Read one message of a client.

    Args:
        message: as MessageBuffer returns it, b"\n\n" at its end included.

    Raises:
        RemoteProtocolError: it is none that docs/protocol.md allows, or none that we understand
            (UNKNOWN_COMMAND, NOT_UNDERSTOOD).
    """
    if message.startswith(_WISH):
        usual = _usual_request(message)
        if usual is not None:
            return usual
    lines = _cut(message)
    name, text = _command_line(lines)
    if name not in COMMANDS and text != _VERSION_2:
        msg = f"command {name[:40]!r}, expected one of version 1 or 2"
        raise RemoteProtocolError(ErrorCode.UNSUPPORTED_PROTOCOL, msg)
    version = _version(text)
    if version == VERSION_1 and name == RequestIP.command:
        try:
            return version1.decode_request(lines[1:])
        except ValueError as error:
            raise RemoteProtocolError(ErrorCode.INVALID_REQUEST, str(error)) from error
    if version != VERSION_2:
        msg = f"version {version} of {name}, expected 2"
        raise RemoteProtocolError(ErrorCode.UNSUPPORTED_PROTOCOL, msg)
    if not is_name(name):
        msg = f"command {name[:40]!r}, expected a name"
        raise RemoteProtocolError(ErrorCode.INVALID_REQUEST, msg)
    spec = FROM_CLIENT.get(name, UNKNOWN)
    request = _decode2(spec, name, lines[1:])
    if spec is UNKNOWN:
        raise RemoteProtocolError(
            ErrorCode.UNKNOWN_COMMAND,
            ErrorCode.UNKNOWN_COMMAND.text,
            command=name,
            request_id=request.id,
        )
    return cast("Request", request)


_NEXT_WISH: Final = b"\nsection=address\nip="
_WISH: Final = b"request_ip=2" + _NEXT_WISH


def _usual_request(message: bytes) -> RequestIP | None:
    """A request for addresses that says nothing else, as most do; None: read it line by line."""
    texts = message[len(_WISH) : -2].decode("latin-1").split(_NEXT_WISH.decode())
    if len(texts) > MAX_WISHES:
        return None
    try:
        return RequestIP(wishes=tuple([parse_address(text) for text in texts]))
    except ValueError:
        return None


def reply_version(message: bytes) -> int:
    """The version a server's message is in: 2 if a command line says so, else 1."""
    name, _, text = message.split(b"\n", 1)[0].decode("latin-1").partition("=")
    return VERSION_2 if text == _VERSION_2 and name in FROM_SERVER else VERSION_1


def decode_reply(message: bytes) -> Reply | Update:
    """Read one message of a server, in whichever version it is.

    Raises:
        RemoteProtocolError: it is none that docs/protocol.md allows, or `critical=` names
            something that we do not understand.
    """
    if reply_version(message) == 1:
        return decode_version1_reply(message)
    lines = _cut(message)
    name, _ = _command_line(lines)
    return cast("Reply | Update", _decode2(FROM_SERVER[name], name, lines[1:]))


def decode_version1_reply(message: bytes) -> RequestIPReply:
    """Read one message of a server that is not one of version 2.

    A reply of version 1 has no command line, for it has one command; the early draft's has one
    that says 1 (docs/protocol.md 5.2, 5.6).

    Raises:
        RemoteProtocolError: it is none that docs/protocol.md allows.
    """
    lines = _cut(message)
    name, text = _command_line(lines)
    if name in COMMANDS:
        if _version(text) != VERSION_1:
            msg = f"reply {name}={text[:40]}, expected version 1 or 2"
            raise RemoteProtocolError(ErrorCode.UNSUPPORTED_PROTOCOL, msg)
        del lines[0]
    try:
        return version1.decode_reply(lines)
    except ValueError as error:
        raise RemoteProtocolError(ErrorCode.INVALID_REQUEST, str(error)) from error


def _cut(message: bytes) -> list[str]:
    """The lines of a message without its blank one; [] for an empty message."""
    text = message.decode("latin-1")
    return text[:-2].split("\n") if len(text) > 1 else []


def _command_line(lines: list[str]) -> tuple[str, str]:
    """Name and value of the first line. Whose version it is, is not decided here."""
    if not lines:
        msg = "empty message, expected a command"
        raise RemoteProtocolError(ErrorCode.UNSUPPORTED_PROTOCOL, msg)
    name, _, text = lines[0].partition("=")
    if not text:
        msg = f"line {lines[0][:60]!r}, expected command=version"
        raise RemoteProtocolError(ErrorCode.INVALID_REQUEST, msg)
    return name, text


def _version(text: str) -> int:
    """The number in a command line; version 2 has to be written as nothing but '2'."""
    try:
        version = parse_loose_number(text)
    except ValueError as error:
        raise RemoteProtocolError(ErrorCode.INVALID_REQUEST, f"version: {error}") from error
    if version == VERSION_2 and text != _VERSION_2:
        msg = f"version {text[:40]!r}, expected '2'"
        raise RemoteProtocolError(ErrorCode.INVALID_REQUEST, msg)
    return version


def _decode2(spec: MessageSpec, command: str, lines: list[str]) -> Any:
    """Read the rest of a message of version 2; every fault knows its command and id."""
    try:
        _require_printable(lines)
        message = version2.decode(spec, lines)
    except ValueError as error:
        raise RemoteProtocolError(
            ErrorCode.INVALID_REQUEST, str(error), command=command, request_id=_find_id(lines)
        ) from error
    for name in getattr(message, CRITICAL.name, ()):
        if name not in spec.understood:
            raise RemoteProtocolError(
                ErrorCode.NOT_UNDERSTOOD,
                f"{name} is not understood",
                command=command,
                request_id=getattr(message, ID.name, None),
            )
    return message


def _require_printable(lines: list[str]) -> None:
    text = "".join(lines)
    if not (text.isascii() and text.isprintable()):
        msg = "a character that is not printable ASCII"
        raise ValueError(msg)


def _find_id(lines: list[str]) -> int | None:
    """The `id=` of a message that is faulty elsewhere, so that the refusal can echo it."""
    for line in lines:
        name, _, text = line.partition("=")
        if name == SECTION:
            break
        if name == ID.name:
            try:
                return cast("int", parse_value(ID, text))
            except ValueError:
                break
    return None
