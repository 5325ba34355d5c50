"""What a set of readings is worth."""
