"""Incidents: what they are, how sightings become one, and where they are kept."""
