"""Picture stores: a folder, S3-compatible storage, lakeFS."""
