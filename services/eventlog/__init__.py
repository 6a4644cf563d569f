"""The event store: the eventsourcing library's recorder over our own tables, and the codec of the stored form."""
