"""Incremental, memoised derivations over the persistent view; see engine.py for the design."""

from xds.engine.derivation import Context, Derivation, Query, derivation
from xds.engine.engine import Engine
from xds.engine.errors import Cycle, DerivationFailed, EngineBusy
from xds.engine.node import Reads

__all__ = [
    "Context",
    "Cycle",
    "Derivation",
    "DerivationFailed",
    "Engine",
    "EngineBusy",
    "Query",
    "Reads",
    "derivation",
]
