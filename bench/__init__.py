"""The instrument: how anything is measured. Knows nothing of text recognition."""
