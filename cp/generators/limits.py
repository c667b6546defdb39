"""Limits of the generators, and why they are what they are."""

# Seconds for which a generated resource outlives its last Dataplane: Kuma's grace period.
GRACE_S = 3600

# Derivations run before the loop gets its turn: a few milliseconds.
SLICE = 64

# Writes in one transaction. Far below what a transaction may hold, so that one that somebody else
# changed meanwhile takes few others with it.
BATCH = 100

# Seconds between two rounds: proxies come in waves, and a wave is one write of their service.
ROUND_S = 0.2

# Seconds between two looks at who leads. What a new leader finds undone is done then.
LEADER_S = 1.0

# The longest sleep, after which what only time makes due is looked at.
IDLE_S = 30.0
