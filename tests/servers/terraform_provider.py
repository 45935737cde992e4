"""A Google provider for Terraform that makes nothing, but knows what there is to make (a schema, see infra/terraform).

It speaks version 5 of Terraform's plugin protocol (docs/plugin-protocol in Terraform's repository), as far as
``validate`` and ``plan`` need it, in this process and on loopback. Terraform is told of it by
``TF_REATTACH_PROVIDERS`` and downloads nothing. So it is Terraform itself that finds attributes and blocks that do not
exist or are missing, values of a wrong type, references that lead nowhere and conditions that do not hold, and that
evaluates the whole configuration.

What the cloud would fill in is made up, from names where the cloud does so too (an account's e-mail). Which values
an attribute may have, only the real provider knows.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

ADDRESS = "registry.terraform.io/hashicorp/google"
PROJECT_NUMBER = "123456789012"

_UNKNOWN = msgspec.msgpack.Ext(0, b"\0")  # Terraform's "known after apply"
_BYTES, _STRING, _INT, _BOOL, _MESSAGE = 12, 9, 3, 8, 11  # kinds of field in protobuf
_ONE, _MANY = 1, 3
_SINGLE, _LIST, _SET = 1, 2, 3  # how blocks nest, in the protocol

# Name of a message: its fields (name, number, kind or message, how often). Only what is read or written here.
_FIELDS: dict[str, list[tuple[str, int, int | str, int]]] = {
    "Value": [("msgpack", 1, _BYTES, _ONE)],
    "Attribute": [
        ("name", 1, _STRING, _ONE),
        ("type", 2, _BYTES, _ONE),
        ("required", 4, _BOOL, _ONE),
        ("optional", 5, _BOOL, _ONE),
        ("computed", 6, _BOOL, _ONE),
    ],
    "Block": [("attributes", 2, "Attribute", _MANY), ("block_types", 3, "Nested", _MANY)],
    "Nested": [
        ("type_name", 1, _STRING, _ONE),
        ("block", 2, "Block", _ONE),
        ("nesting", 3, _INT, _ONE),
        ("min_items", 4, _INT, _ONE),
        ("max_items", 5, _INT, _ONE),
    ],
    "Schema": [("version", 1, _INT, _ONE), ("block", 2, "Block", _ONE)],
    "Named": [("key", 1, _STRING, _ONE), ("value", 2, "Schema", _ONE)],  # an entry of a map
    "Schemas": [("provider", 1, "Schema", _ONE), ("resources", 2, "Named", _MANY), ("data", 3, "Named", _MANY)],
    "Config": [("config", 1, "Value", _ONE)],
    "Configure": [("config", 2, "Value", _ONE)],
    "Plan": [("type_name", 1, _STRING, _ONE), ("proposed", 3, "Value", _ONE)],
    "Planned": [("state", 1, "Value", _ONE), ("legacy_type_system", 5, _BOOL, _ONE)],
    "Read": [("type_name", 1, _STRING, _ONE), ("config", 2, "Value", _ONE)],
    "Raw": [("json", 1, _BYTES, _ONE)],
    "Upgrade": [("type_name", 1, _STRING, _ONE), ("raw_state", 3, "Raw", _ONE)],
    "State": [("state", 1, "Value", _ONE)],
}
_TYPES = {"list": ["list", "string"], "set": ["set", "string"], "map": ["map", "string"], "object": "dynamic"}


def _messages() -> dict[str, Any]:
    """The classes of the messages."""
    file = descriptor_pb2.FileDescriptorProto(name="plugin.proto", package="plugin", syntax="proto3")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for label, number, kind, often in fields:
            field = message.field.add(name=label, number=number, label=often)
            field.type = kind if isinstance(kind, int) else _MESSAGE
            if isinstance(kind, str):
                field.type_name = f".plugin.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"plugin.{name}")) for name in _FIELDS}


_M = _messages()


def _block(described: Mapping[str, Any]) -> Any:
    attributes = []
    for name, words in described["attributes"].items():
        kind, *flags = words.split()
        encoded = json.dumps(_TYPES.get(kind, kind)).encode()
        attributes.append(_M["Attribute"](name=name, type=encoded, **dict.fromkeys(flags, True)))
    return _M["Block"](attributes=attributes, block_types=[_nested(*item) for item in described["blocks"].items()])


def _nested(name: str, described: Mapping[str, Any]) -> Any:
    if name == "timeouts":
        return _M["Nested"](type_name=name, block=_block(described), nesting=_SINGLE)
    return _M["Nested"](
        type_name=name,
        block=_block(described),
        nesting=_SET if described["nesting"] == "set" else _LIST,
        min_items=int(described["required"]),
        max_items=int(described["nesting"] == "one"),
    )


def _schema(described: Mapping[str, Any]) -> Any:
    return _M["Schema"](version=0, block=_block(described))


class _Provider:
    """Answers Terraform. ``project`` is what the configuration says."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._project = ""

    def schemas(self, _: bytes) -> bytes:
        """GetSchema."""
        resources, data = (
            [_M["Named"](key=name, value=_schema(found)) for name, found in self._schema[kind].items()]
            for kind in ("resource", "data")
        )
        own = _schema(self._schema["provider"])
        return bytes(_M["Schemas"](provider=own, resources=resources, data=data).SerializeToString())

    def prepare(self, request: bytes) -> bytes:
        """PrepareProviderConfig: the configuration as it is."""
        return bytes(_M["Config"].FromString(request).SerializeToString())

    def configure(self, request: bytes) -> bytes:
        """Configure."""
        config = msgspec.msgpack.decode(_M["Configure"].FromString(request).config.msgpack)
        self._project = config["project"]
        return b""

    def plan(self, request: bytes) -> bytes:
        """PlanResourceChange: as proposed, with what the cloud will fill in."""
        asked = _M["Plan"].FromString(request)
        state = self._filled("resource", asked.type_name, msgspec.msgpack.decode(asked.proposed.msgpack))
        return bytes(_M["Planned"](state=_value(state), legacy_type_system=True).SerializeToString())

    def upgrade(self, request: bytes) -> bytes:
        """UpgradeResourceState: what the state file says; attributes it does not name are null."""
        asked = _M["Upgrade"].FromString(request)
        described = self._schema["resource"][asked.type_name]
        nothing = {name: None if name == "timeouts" else [] for name in described["blocks"]}
        state = nothing | dict.fromkeys(described["attributes"]) | json.loads(asked.raw_state.json)
        return bytes(_M["State"](state=_value(state)).SerializeToString())

    def read(self, request: bytes) -> bytes:
        """ReadDataSource."""
        asked = _M["Read"].FromString(request)
        state = self._filled("data", asked.type_name, msgspec.msgpack.decode(asked.config.msgpack))
        return bytes(_M["State"](state=_value(state)).SerializeToString())

    def _filled(self, kind: str, type_name: str, state: dict[str, Any] | None) -> dict[str, Any] | None:
        if state is None:  # it is to be removed
            return None
        known = self._known(type_name, state)
        for name, words in self._schema[kind][type_name]["attributes"].items():
            if "computed" in words and state[name] is None:
                empty = None if kind == "data" else _UNKNOWN
                state[name] = known.get(name, f"{type_name}.{name}" if words.startswith("string") else empty)
        return state

    def _known(self, type_name: str, state: Mapping[str, Any]) -> dict[str, Any]:
        """What follows from the names."""
        project, prefix = self._project, f"projects/{self._project}"
        known: dict[str, Any] = {"project": project}
        if type_name == "google_service_account":
            email = f"{state['account_id']}@{project}.iam.gserviceaccount.com"
            account = f"{prefix}/serviceAccounts/{email}"
            known |= {"email": email, "member": f"serviceAccount:{email}", "name": account, "id": account}
        elif type_name == "google_pubsub_topic":
            known["id"] = f"{prefix}/topics/{state['name']}"
        elif type_name == "google_project_iam_custom_role":
            known["name"] = f"{prefix}/roles/{state['role_id']}"
        elif type_name == "google_monitoring_notification_channel":
            known["id"] = f"{prefix}/notificationChannels/{state['labels']['email_address']}"
        elif type_name == "google_project":
            known["number"] = PROJECT_NUMBER
        elif type_name == "google_storage_project_service_account":
            known["member"] = f"serviceAccount:service-{PROJECT_NUMBER}@gs-project-accounts.iam.gserviceaccount.com"
        return known


def _value(state: Any) -> Any:
    return _M["Value"](msgpack=msgspec.msgpack.encode(state))


@contextmanager
def terraform_provider(schema: Path) -> Iterator[str]:
    """What ``TF_REATTACH_PROVIDERS`` has to say, for as long as the provider is there."""
    provider = _Provider(json.loads(schema.read_bytes()))
    calls: dict[str, Callable[[bytes], bytes]] = {
        "GetSchema": provider.schemas,
        "PrepareProviderConfig": provider.prepare,
        "ValidateResourceTypeConfig": lambda _: b"",
        "ValidateDataSourceConfig": lambda _: b"",
        "Configure": provider.configure,
        "UpgradeResourceState": provider.upgrade,
        "PlanResourceChange": provider.plan,
        "ReadDataSource": provider.read,
        "Stop": lambda _: b"",
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(lambda request, context, call=call: call(request))
        for name, call in calls.items()
    }
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tfplugin5.Provider", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        place = {"Network": "tcp", "String": f"127.0.0.1:{port}"}
        about = {"Protocol": "grpc", "ProtocolVersion": 5, "Pid": os.getpid(), "Test": True, "Addr": place}
        yield json.dumps({ADDRESS: about})
    finally:
        server.stop(None).wait()
