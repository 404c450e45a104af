-- Runs once, when the volume of PostgreSQL is new: lakeFS keeps its own records in a database of its own.
CREATE DATABASE lakefs;
