"""The model registry in SQLite or PostgreSQL, by SQLAlchemy Core. Needs okawari[sql]."""
