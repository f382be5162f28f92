"""Random protobuf messages, any field from plausible to absurd; and bytes that are none."""

from collections.abc import Sequence
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

M = TypeVar("M", bound=Message)
_MAX_FIELDS = 4
_MAX_REPEATED = 6
_LONG = 70_000  # characters; above what a router or worker takes

_FLOATS = st.one_of(
    st.floats(width=32),
    st.sampled_from([0.0, -0.0, 1.0, 0.5, 1e-30, 3e38, float("nan"), float("inf")]),
)
_TEXTS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["", " ", "\0", "<think>", "</think>", "user", "tiny", "é" * 500, "{{ 7*7 }}"]),
    st.integers(1, _LONG).map(lambda length: "x" * length),
)
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, (1 << 32) - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, (1 << 64) - 1),
}


def altered(base: M) -> st.SearchStrategy[M]:
    """The valid message with a few of its fields, nested ones too, replaced by anything."""

    @st.composite
    def build(draw: st.DrawFn) -> M:
        message = type(base)()
        message.CopyFrom(base)
        for field in draw(_some_of(_fields(base), _MAX_FIELDS)):
            _replace(draw, message, field)
        return message

    return build()


def broken_bytes(base: Message) -> st.SearchStrategy[bytes]:
    """Bytes that are no message, or one that nobody meant."""
    whole = base.SerializeToString()
    places = st.integers(0, max(0, len(whole) - 1))
    return st.one_of(
        st.binary(max_size=300),
        places.map(lambda end: whole[:end]),
        st.tuples(places, st.binary(min_size=1, max_size=8)).map(
            lambda cut: whole[: cut[0]] + cut[1] + whole[cut[0] + 1 :]
        ),
        st.tuples(places, st.binary(max_size=50)).map(
            lambda put: whole[: put[0]] + put[1] + whole[put[0] :]
        ),
        # A field that is said to be longer than there are bytes, and very long ones.
        st.integers(1, 20_000).map(lambda length: b"\x12\xff\xff\xff\x7f" + b"x" * length),
    )


def _replace(draw: st.DrawFn, message: Message, field: FieldDescriptor) -> None:
    message.ClearField(field.name)
    if draw(st.integers(0, 9)) == 0:
        return
    if not field.is_repeated:
        _set(draw, message, field)
        return
    values = getattr(message, field.name)
    if field.message_type is None:
        values.extend(draw(st.lists(_scalar(field), max_size=_MAX_REPEATED)))
        return
    for _ in range(draw(st.integers(0, _MAX_REPEATED))):
        _fill(draw, values.add())


def _set(draw: st.DrawFn, message: Message, field: FieldDescriptor) -> None:
    if field.message_type is None:
        setattr(message, field.name, draw(_scalar(field)))
        return
    inner = getattr(message, field.name)
    inner.SetInParent()
    _fill(draw, inner)


def _fill(draw: st.DrawFn, message: Message) -> None:
    fields = _fields(message)
    for field in draw(_some_of(fields, len(fields))):
        _replace(draw, message, field)


def _fields(message: Message) -> Sequence[FieldDescriptor]:
    # The stubs also name the class of the C implementation, which is the same to its users.
    fields: Any = message.DESCRIPTOR.fields
    return list(fields)


def _some_of(
    fields: Sequence[FieldDescriptor], most: int
) -> st.SearchStrategy[list[FieldDescriptor]]:
    if not fields:
        return st.just([])
    one = st.sampled_from(tuple(fields))
    return st.lists(one, max_size=most, unique_by=lambda field: field.name)


def _scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    kind = field.cpp_type
    if kind in _INTEGERS:
        low, high = _INTEGERS[kind]
        few = [value for value in (-1, 0, 1, 2, 50, 500, 3_000, low, high) if low <= value <= high]
        return st.one_of(st.sampled_from(few), st.integers(low, high))
    if kind == FieldDescriptor.CPPTYPE_ENUM:  # open: any number may arrive
        return st.one_of(st.integers(0, 6), st.integers(-(1 << 31), (1 << 31) - 1))
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return _TEXTS
    return _FLOATS
