"""Readers, LMDB, packed rows, rendering: how pictures and labels reach the recogniser."""
