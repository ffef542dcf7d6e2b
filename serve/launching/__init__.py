"""Servers of others, started, watched and stopped."""
