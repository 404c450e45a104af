"""Helpers that know nothing of models: files, text, processes."""
