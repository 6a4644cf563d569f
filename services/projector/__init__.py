"""The projector: follows the log by position and keeps every read model."""
