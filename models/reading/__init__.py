"""Reading images with a trained recogniser: the three-line API."""
