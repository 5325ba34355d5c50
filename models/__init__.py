"""The subject: what is measured. A text recogniser, its data, its training and its testing."""
