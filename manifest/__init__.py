"""What a version is: its tag, and its config.json, read and checked."""
