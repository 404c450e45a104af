"""HTTP: the predict API, management routes, documents."""
