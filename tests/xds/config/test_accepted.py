"""Every configuration that a test of this folder derives is accepted by a real Envoy.

The tests are run once more with their configurations kept, then one Envoy is given them all, with certificates:
only when it has its secrets does Envoy build the contexts in which ciphers and versions of TLS are checked.
(Bundles of trust are judged in tests/conformance/test_xds_envoy.py, where they are real.)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cp.ca.x509 import Authority, new_authority
from tests.xds.config.collected import FOLDER, Kept, kept
from tests.xds.holder import NOTHING, Snapshots, envoy
from xds import proto
from xds.config.identity import authority_secret, certificate_secret
from xds.encode import encode
from xds.types import SECRET, Encoded

pytestmark = [pytest.mark.envoy, pytest.mark.process]

HERE = Path(__file__).parent
# Thousands of configurations that differ in one value of one policy: too many for one Envoy in a minute.
MANY = ("--ignore", str(HERE / "policies" / "test_every_field.py"))
# What a test means Envoy to refuse: part of the test's name -> why.
REFUSED = {
    "test_http_filters_are_added[AddLast": "a patch may do what it likes, also put a filter behind the router",
    "test_names_versions_and_our_certificate": "the private key of the test is only some text",
    "test_who_is_not_checked_may_check_us": "the private key of the test is only some text",
}
# Sent, as Kuma does, to whoever does not say that their build of Envoy lacks it, as this one does.
NO_KAFKA = "Didn't find a registered implementation for 'envoy.filters.network.kafka_broker'"


def collect(folder: Path) -> list[Kept]:
    """What the fast tests beside this one derive. (One that fails is told of where it is run for its own sake.)"""
    command = [sys.executable, "-m", "pytest", str(HERE), "-q", "-m", "not envoy and not process", *MANY]
    done = subprocess.run(
        command,
        env=os.environ | {FOLDER: str(folder)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout[-4000:]
    return list(kept(folder))


class Filler:
    """Gives configurations what is outside them: certificates (most tests bring none, or only some text), and the
    files and folders of a runner."""

    def __init__(self, folder: Path) -> None:
        now = time.time()
        authority = new_authority("tests", now, 86400.0, key_type="ecdsa")
        self._leaf = Authority(authority).issue(now, 3600.0, uris=["spiffe://default/any"]).pair
        self._roots = authority.certificate
        self._places = {name: str(folder / Path(name).name) for name in ("/run/web", "/cert.pem", "/key.pem")}
        (folder / "web").mkdir()
        (folder / "web" / "kuma-al-web-default.sock").touch()
        (folder / "cert.pem").write_bytes(self._leaf.certificate)
        (folder / "key.pem").write_bytes(self._leaf.key)

    def filled(self, state: Snapshots) -> Snapshots:
        """The configuration as it would be in a real place."""
        found: Snapshots = {}
        secrets: dict[str, Encoded] = {}
        for type_url, resources in state.items():
            for name, resource in resources.items():
                document = proto.to_json(proto.parse(proto.msg_of_url(type_url), resource.body))
                if type_url == SECRET:
                    secrets[name] = self._secret(name, "validationContext" in document)
                    continue
                found.setdefault(type_url, {})[name] = self._placed(type_url, resource, document)
                for secret, is_authority in _referred(document):
                    secrets[secret] = self._secret(secret, is_authority)
        return NOTHING | found | {SECRET: secrets}

    def _placed(self, type_url: str, resource: Encoded, document: Any) -> Encoded:
        before = text = json.dumps(document)
        for place, real in self._places.items():
            text = text.replace(f'"{place}', f'"{real}')
        if text == before:
            return resource
        message = proto.from_json(type_url.rpartition("/")[2], json.loads(text))
        return encode(type_url, resource.name, message)

    def _secret(self, name: str, is_authority: bool) -> Encoded:
        if is_authority:
            return authority_secret(name, self._roots)
        return certificate_secret(name, self._leaf.certificate, self._leaf.key)


def _referred(value: Any) -> Iterator[tuple[str, bool]]:
    """(name, whether of an authority) of each secret that a resource refers to."""
    if isinstance(value, list):
        for item in value:
            yield from _referred(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "tlsCertificateSdsSecretConfigs":
                yield from ((each["name"], False) for each in item)
            elif key == "validationContextSdsSecretConfig":
                yield item["name"], True
            else:
                yield from _referred(item)


async def test_a_real_envoy_accepts_whatever_the_tests_derive(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    found = collect(folder)
    failed: list[str] = []
    # Not below tmp_path: the path of a socket has to be short.
    with tempfile.TemporaryDirectory(prefix="envoy-") as place:
        filler = Filler(Path(place))
        async with envoy(tmp_path) as rig:
            for each in found:
                refused = await rig.faults(filler.filled(each.state))
                against = [reason for reason in refused if NO_KAFKA not in reason]
                if bool(against) != any(part in each.test for part in REFUSED):
                    failed.append(f"{each.test}: {'; '.join(against) or 'accepted, though refusal is meant'}")
                assert not await rig.faults(NOTHING), each.test  # the next one is another proxy
    print(f"\nenvoy: accepted {len(found) - len(failed)} of {len(found)} configurations")
    log = (tmp_path / "envoy.log").read_text()[-4000:]
    assert len(found) > 100 and not failed, "\n".join([*failed, log])
