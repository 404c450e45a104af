"""Helpers independent of models: files and text."""
