"""The embedded server: one process that speaks the protocols, and worker processes that run the models."""
