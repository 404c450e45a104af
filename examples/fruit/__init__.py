"""The classifier of the team `fruit`: its pictures, its training, its weights."""
