"""Messages between the judge and a trial: a JSON header and plain arrays over a local socket.

Both ends use it, and each distrusts the other: sizes are bounded before anything is read, and arrays are built from
bytes, never unpickled.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

MAX_HEADER_BYTES = 65_536
MAX_EXTENT = 1 << 40
DTYPES = ("|u1", "<i2", "<i4", "<i8", "<f4", "<f8")
_LENGTH = struct.Struct(">Q")


class WireError(ConnectionError):
    """The other end broke the protocol: what it sent is no message, or not the one that is due.

    WireError
    └── ChannelClosedError
    """


class ChannelClosedError(WireError):
    """The other end is gone."""


@dataclass(frozen=True)
class Message:
    """One message: what it is, small facts, and arrays by name."""

    kind: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


def send(channel: socket.socket, message: Message) -> None:
    """Send a message; blocks until the other end has taken it.

    Raises:
        ChannelClosedError: The other end is gone.
    """
    arrays = {name: np.asarray(array, order="C") for name, array in message.arrays.items()}
    header = json.dumps(
        {
            "kind": message.kind,
            "facts": dict(message.facts),
            "arrays": [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()],
        }
    ).encode()
    try:
        channel.sendall(_LENGTH.pack(len(header)) + header)
        for array in arrays.values():
            channel.sendall(array.reshape(-1).data.cast("B") if array.size else b"")
    except OSError as error:
        raise ChannelClosedError(f"the other end of the task channel is gone ({error})") from error


def receive(channel: socket.socket, max_array_bytes: int) -> Message:
    """Receive a message whose arrays have at most `max_array_bytes` bytes together.

    Raises:
        ChannelClosedError: The other end is gone.
        WireError: What came is no message within the bounds.
    """
    (length,) = _LENGTH.unpack(_read(channel, _LENGTH.size))
    if length > MAX_HEADER_BYTES:
        raise WireError(f"a message header of {length} bytes; {MAX_HEADER_BYTES} are allowed")
    try:
        header = json.loads(_read(channel, length).decode())
        kind, facts, described = str(header["kind"]), dict(header["facts"]), list(header["arrays"])
        layouts = [(str(name), str(dtype), tuple(int(d) for d in shape)) for name, dtype, shape in described]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise WireError(f"a message header that cannot be read ({error})") from error
    arrays: dict[str, np.ndarray] = {}
    left = max_array_bytes
    for name, dtype, shape in layouts:
        if dtype not in DTYPES or len(shape) > 4 or any(not 0 <= extent <= MAX_EXTENT for extent in shape):
            raise WireError(f"array {name!r} has dtype {dtype} and shape {shape}; dtypes are {', '.join(DTYPES)}")
        size = np.dtype(dtype).itemsize
        for extent in shape:
            size *= extent
        if size > left:
            raise WireError(
                f"array {name!r} of shape {shape} and dtype {dtype} is over the {max_array_bytes} bytes due"
            )
        left -= size
        arrays[name] = np.frombuffer(_read(channel, size), dtype=dtype).reshape(shape)
    return Message(kind, facts, arrays)


def _read(channel: socket.socket, size: int) -> bytearray:
    buffer = bytearray(size)
    view, got = memoryview(buffer), 0
    while got < size:
        try:
            count = channel.recv_into(view[got:])
        except OSError as error:
            raise ChannelClosedError(f"the other end of the task channel is gone ({error})") from error
        if not count:
            raise ChannelClosedError(f"the task channel closed after {got} of {size} bytes")
        got += count
    return buffer
