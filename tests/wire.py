"""Protobuf's wire format, for messages and fields that python3-etcd3 does not know, and for bytes that are compared."""


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def message(fields):
    """Encodes {number: value}: ints, bytes, text, messages (dicts), and lists of them. Zeros are written, too."""
    out = b""
    for number, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, int):
                out += varint(number << 3) + varint(one)
                continue
            data = message(one) if isinstance(one, dict) else one.encode() if isinstance(one, str) else one
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def read_fields(data):
    """Decodes one level: (number, value) in order, the values ints and bytes. ValueError when it is no message."""
    at, fields = 0, []

    def read_varint():
        nonlocal at
        value = shift = 0
        while at < len(data):
            byte = data[at]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value
        raise ValueError(f"a number is cut short in {data!r}")

    while at < len(data):
        tag = read_varint()
        if tag & 7 == 0:
            value = read_varint()
        elif tag & 7 == 2:
            size = read_varint()
            if at + size > len(data):
                raise ValueError(f"a field is cut short in {data!r}")
            value, at = data[at:at + size], at + size
        else:
            raise ValueError(f"wire type {tag & 7}, which etcd does not use, in {data!r}")
        fields.append((tag >> 3, value))
    return fields


def fields_of(data):
    """The same as {number: [values]}."""
    found = {}
    for number, value in read_fields(data):
        found.setdefault(number, []).append(value)
    return found
