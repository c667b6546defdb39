"""Who we are: the version as installed, and the version of Kuma whose language we speak."""

from __future__ import annotations

from importlib import metadata

# kumactl refuses a control plane whose `/` names another product than its own, and warns
# when the versions differ by a minor; so `/` answers in Kuma's name and tells ours beside it.
PRODUCT = "Kuma"
BASED_ON_KUMA = "2.14.3"


def version() -> str:
    """The installed version; `dev` when run from a checkout that was never installed."""
    try:
        return metadata.version("raftmesh")
    except metadata.PackageNotFoundError:
        return "dev"
