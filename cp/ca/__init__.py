"""Certificates of the mesh: authorities kept as secrets, and what is issued from them.

Mesh.mtls ──> keeper: the authority's key pair, two Secrets, written once
                └──> issuer: one leaf certificate per connected proxy, renewed in time
envoy-admin-ca (GlobalSecret): who may open the admin interface of a proxy
"""
