"""Adapters to what others run: databases."""
