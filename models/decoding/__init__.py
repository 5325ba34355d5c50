"""Ways from logits to texts beyond the greedy one: beam search, words of a lexicon, alignment."""
