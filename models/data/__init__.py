"""Readers, LMDB, packed rows, rendering: how images and labels reach the recogniser."""
