"""What a run is made of: options, the context, signals, and the way to its record."""
