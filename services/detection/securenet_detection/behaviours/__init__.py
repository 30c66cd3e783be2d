"""What a source did over time: one module a detector, behind the interface of :mod:`.interface`."""
