"""Advisories: what they say, where they are kept, and what they say of a package."""
