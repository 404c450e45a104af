"""Which models are in memory: the plan, and the table that all workers share. Pure."""
