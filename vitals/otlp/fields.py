"""Fields of messages of protobuf, which join to the message that holds them.

https://protobuf.dev/programming-guides/encoding: what many records share is encoded once, and
joined with what they do not.
"""

_SEVEN_BITS, _MORE = 0x7F, 0x80


def field(tag: int, body: bytes) -> bytes:
    """A field that has a length: its tag, its length, and its body.

    Args:
        tag: The number of the field, times 8, plus 2; below 128.
        body: A message, a text as UTF-8, or bytes.
    """
    size = len(body)
    if size <= _SEVEN_BITS:
        return bytes((tag, size)) + body
    head = bytearray((tag,))
    while size > _SEVEN_BITS:
        head.append(size & _SEVEN_BITS | _MORE)
        size >>= 7
    head.append(size)
    return bytes(head) + body
