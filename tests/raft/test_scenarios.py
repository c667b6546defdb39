"""Golden interaction scripts: each replayed, and its whole trace compared.

When behaviour changes on purpose: python -m chaos.sim.script tests/raft/scenarios/*.txt, then
read the diff.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.sim.script import Script, ScriptError, describe, parse, replay

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_trace_is_as_it_was(path: Path) -> None:
    text = path.read_text()
    assert replay(text) == text


def test_no_scenario_records_a_broken_promise() -> None:
    assert len(SCENARIOS) >= 8
    for path in SCENARIOS:
        for block in parse(path.read_text()):
            assert not [line for line in block.output if "Error" in line or "NotConverged" in line], path


def test_a_changed_line_is_noticed() -> None:
    text = replay("# A story.\ncluster A\n\nlead A\n\nshow\n")
    assert replay(text) == text
    assert replay(text.replace("A: leader", "A: follower")) == text


def test_unknown_commands_are_refused() -> None:
    with pytest.raises(ScriptError, match="no command 'dance'; there are add, cluster"):
        Script().execute("dance A")
    with pytest.raises(ScriptError, match="the first command is: cluster"):
        Script().execute("lead A")
    with pytest.raises(ScriptError, match="comes '----', not 'oops'"):
        list(parse("lead A\noops\n"))


def test_messages_are_described_in_one_line() -> None:
    assert describe({"type": "term_notice", "term": 4}) == "term_notice term 4"
    assert (
        describe(
            {"type": "next_node_idx", "term": 1, "q": 1, "next_node_idx": 7, "reset": True, "success": False}
        )
        == "reply term 1, rewind to 7"
    )
