"""Secret, GlobalSecret and Config: bytes and text that only administrators see."""

from __future__ import annotations

import base64
import binascii

from mesh.kinds.base import Kds, Kind, Model
from mesh.kinds.checks.secrets import validate


class SecretSpec(Model):
    """Opaque bytes, base64-encoded."""

    data: str = ""

    def value(self) -> bytes:
        """The bytes; b"" when `data` is no base64 (validation refuses such a document)."""
        try:
            return base64.b64decode(self.data)
        except (binascii.Error, ValueError):
            return b""


class ConfigSpec(Model):
    """A setting that the control plane keeps for itself."""

    config: str = ""


SECRET = Kind(
    name="Secret",
    scope="mesh",
    path="secrets",
    arg="secret",
    singular="Secret",
    plural="Secrets",
    spec_type=SecretSpec,
    wrapped=False,
    admin_only=True,
    hashed_name=False,
    kds=Kds.GLOBAL_TO_ZONES | Kds.WRITABLE_ON_ZONE,
    validate=validate,
)

GLOBAL_SECRET = Kind(
    name="GlobalSecret",
    scope="global",
    path="globalsecrets",
    path_aliases=("global-secrets",),
    arg="globalsecret",
    arg_aliases=("global-secret",),
    singular="Global Secret",
    plural="Global Secrets",
    spec_type=SecretSpec,
    wrapped=False,
    admin_only=True,
    hashed_name=False,
    kds=Kds.GLOBAL_TO_ZONES | Kds.WRITABLE_ON_ZONE,
    validate=validate,
)

CONFIG = Kind(
    name="Config",
    scope="global",
    path="",
    singular="Config",
    plural="Configs",
    spec_type=ConfigSpec,
    wrapped=False,
    hashed_name=False,
    kds=Kds.GLOBAL_TO_ZONES | Kds.WRITABLE_ON_ZONE,
)
