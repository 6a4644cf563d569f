"""The relay: publishes the log to stream EVENTS, sequence equal to position."""
