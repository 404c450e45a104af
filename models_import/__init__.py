"""How a model comes in: importer, catalogue, store reader, watcher."""
