"""The HTTP API: Kuma's paths and bodies, answered from this worker's view."""
