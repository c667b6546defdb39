"""The hand-made HTTP/2, gRPC and Protobuf of the benchmarks, cut at every place."""

from __future__ import annotations

from bench import wire
from bench.wire import Frames, Messages, field, fields, frame, grpc_message, payload, varint
from xds.proto import msg, serialize


def test_frames_are_found_wherever_the_bytes_are_cut() -> None:
    data = wire.PREFACE + frame(wire.SETTINGS, 0, 0, b"ab") + frame(wire.DATA, wire.PADDED, 7, b"\x01xy\x00")
    expected = [(wire.SETTINGS, 0, 0, b"ab"), (wire.DATA, wire.PADDED, 7, b"\x01xy\x00")]
    for cut in range(len(data) + 1):
        frames = Frames(preface=True)
        assert [*frames.feed(data[:cut]), *frames.feed(data[cut:])] == expected, cut


def test_padding_is_no_payload() -> None:
    assert payload(wire.PADDED, b"\x02xyz\x00\x00") == b"xyz"
    assert payload(0, b"\x02xyz") == b"\x02xyz"


def test_messages_are_joined_over_frames() -> None:
    data = grpc_message(b"one") + grpc_message(b"") + grpc_message(b"three")
    for cut in range(len(data) + 1):
        messages = Messages()
        assert [*messages.feed(data[:cut]), *messages.feed(data[cut:])] == [b"one", b"", b"three"], cut


def test_fields_are_those_that_protobuf_writes() -> None:
    request = msg("envoy.service.discovery.v3.DeltaDiscoveryRequest")(
        type_url="t" * 200, response_nonce="7", resource_names_subscribe=["a", "b"], error_detail={"code": 13}
    )
    found = list(fields(serialize(request)))
    assert [value for number, value in found if number == 3] == [b"a", b"b"]
    assert (2, b"t" * 200) in found and (6, b"7") in found
    assert list(fields(varint(8) + varint(300) + field(2, b"x"))) == [(2, b"x")]
