"""A recogniser behind HTTP: requests in, batches through the network, answers and a page out."""
