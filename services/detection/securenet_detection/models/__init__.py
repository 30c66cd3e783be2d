"""The trained model: what it must be, which serves now, and where the next one comes from."""
