"""Threat intelligence: what feeds list, kept in compact columns and looked up by the batch."""
