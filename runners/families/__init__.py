"""Model families: how outputs of a graph become answers; one file each."""
