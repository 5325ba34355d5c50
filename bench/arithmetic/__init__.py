"""The numbers of a record: series, rates, what follows from what."""
