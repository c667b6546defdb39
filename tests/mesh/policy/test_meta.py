"""What labels say about a resource, and its identity across copies."""

from __future__ import annotations

import pytest

from mesh.policy.meta import Meta, Origin, Role, kri, with_section


def _meta(**labels: str) -> Meta:
    names = {"namespace": "k8s.kuma.io/namespace"}
    named = {names.get(key, f"kuma.io/{key.replace('_', '-')}"): value for key, value in labels.items()}
    return Meta("MeshTimeout", "default", "t-hash", named)


def test_copies_share_the_identity_of_the_original() -> None:
    original = Meta("MeshTimeout", "default", "t", {"kuma.io/origin": "zone", "kuma.io/zone": "east"})
    assert (
        _meta(display_name="t", origin="zone", zone="east").kri == original.kri == "kri_mt_default_east__t_"
    )


def test_what_global_wrote_has_no_zone() -> None:
    assert _meta(origin="global", zone="east").zone == ""
    assert _meta(zone="east").kri == "kri_mt_default_east__t-hash_"


@pytest.mark.parametrize(
    ("label", "origin"), [("global", Origin.GLOBAL), ("zone", Origin.ZONE), ("x", Origin.UNKNOWN)]
)
def test_origins(label: str, origin: Origin) -> None:
    assert _meta(origin=label).origin is origin


def test_roles() -> None:
    assert _meta().role is Role.SYSTEM
    assert _meta(policy_role="workload-owner").role is Role.WORKLOAD_OWNER


def test_shadow() -> None:
    assert _meta(effect="shadow").shadow
    assert not _meta().shadow


def test_sections() -> None:
    identifier = kri("MeshService", "default", "east", "shop", "db", "http")
    assert identifier == "kri_msvc_default_east_shop_db_http"
    assert with_section(identifier, "") == "kri_msvc_default_east_shop_db_"
    assert with_section(identifier, "grpc") == "kri_msvc_default_east_shop_db_grpc"
