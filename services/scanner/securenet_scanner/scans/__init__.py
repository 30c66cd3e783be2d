"""Scans as resources: permission, state, progress, findings, and what survives a restart."""
