"""The timekeeper: finds limits and rungs that fall due, and sends commands that record them."""
