"""What cameras hand in: every accepted picture, what was found on it, and which version said so."""
