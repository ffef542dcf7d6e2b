"""Bundles: folders with everything that an engine needs to serve proven models."""
