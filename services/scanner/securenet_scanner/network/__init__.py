"""Networks: which targets and ports are meant, what answers there, and what it says of itself."""
