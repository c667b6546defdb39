"""Limits of the engine, and why they are what they are."""

# Nodes that nobody reads any more are dropped when a wave ends. Under a change rate at which
# waves never end they are dropped once there are this many: at about 1 KB each that is 64 MB.
ORPHANS_MAX = 65_536

# How many derivations a caller of `advance` runs between two looks at the queue. Only the cost of
# that look depends on it; callers that must yield use `step` with a budget of their own.
ADVANCE_SLICE = 1_024
