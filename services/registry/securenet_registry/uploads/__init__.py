"""Uploads: received in pieces, checked in a process of their own."""
