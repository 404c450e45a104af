"""Formats of pictures: what is read of each, and when its pixels are all there."""
