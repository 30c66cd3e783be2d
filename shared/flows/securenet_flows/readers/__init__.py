"""Readers of flow logs, one file a format."""
