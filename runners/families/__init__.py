"""Model families, one file each: they turn the outputs of a graph into answers."""
