"""Bytes of versions: content-addressed storage, manifests, signatures."""
