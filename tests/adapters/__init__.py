"""Tests of what others run: the picture stores."""
