"""What a run leaves: its record, what follows from it, and what must hold in it. No torch."""
