"""The core: which model answers. No framework, no wire, no database."""
