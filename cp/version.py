"""Who we are: the version as installed, and the version of Kuma whose language we speak."""

from __future__ import annotations

from importlib import metadata

PRODUCT = "Raftmesh"
BASED_ON_KUMA = "2.14.3"


def version() -> str:
    """The installed version; `dev` when run from a checkout that was never installed."""
    try:
        return metadata.version("raftmesh")
    except metadata.PackageNotFoundError:
        return "dev"
