"""The warning service: answers deadline events with warnings, escalations and demands for explanation."""
