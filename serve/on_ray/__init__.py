"""Serving on a Ray cluster: the protocols in an ingress, every version of a model a deployment of its own."""
