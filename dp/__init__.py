"""The data-plane runner: bootstraps and supervises the Envoy beside one service.

The runner knows nothing of policies or xDS. It asks any control plane for a bootstrap,
starts Envoy with it, and from then on Envoy talks to the control planes itself, so the
loss of the runner's control plane is no event here.
"""
