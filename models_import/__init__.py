"""Model import: importer, catalogue, store reader, drop folder, watcher."""
