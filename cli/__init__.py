"""`okawari`: the composition root of the command line."""
