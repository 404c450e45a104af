"""Boxes and labels drawn on pictures."""
