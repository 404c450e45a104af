"""Helpers independent of models: files, text, processes."""
