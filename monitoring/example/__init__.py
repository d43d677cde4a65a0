"""Lively example data: what a first visitor sees before the first execution of their own."""
