"""How records become rows, comparisons, charts and pages."""
