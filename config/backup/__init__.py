"""Backup of the whole installation into one file, and the way back."""
