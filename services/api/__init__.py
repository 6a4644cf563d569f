"""The HTTP API: what the read models and the log say, and a second door for commands."""
