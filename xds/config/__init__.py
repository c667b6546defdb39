"""What a sidecar gets: derivations from the view to Envoy's resources; see plan.py for the way."""
