"""The simulation: departments that publish commands over NATS while a clock is moved through five hundred days."""
