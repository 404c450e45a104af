"""The migrations of the registry's database, each reversible; `adapters.sql.schema` runs them."""
