"""A long run: traffic, swaps, evictions and faults on a service of its own, and what became of it."""
