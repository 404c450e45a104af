"""What two versions are compared by."""
