"""Errors that end `raftmesh dp run`, each with the exit code and one line for its user."""

from __future__ import annotations


class RunnerError(Exception):
    """A reason to stop. `exit_code` follows sysexits.h where it has a word for the case."""

    exit_code = 1


class BadInput(RunnerError):
    """The command line or the Dataplane file is wrong; the user must change it."""

    exit_code = 64


class Refused(RunnerError):
    """A control plane answered, and its answer will not change by asking again."""

    exit_code = 77


class NoControlPlane(RunnerError):
    """No control plane answered in the time allowed."""

    exit_code = 69


class EnvoyFailed(RunnerError):
    """Envoy could not be started, or kept dying."""

    exit_code = 70
