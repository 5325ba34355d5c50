"""Backbones, sequence models, heads and rectifiers: the parts a recogniser is put together from."""
