"""The vocabulary of counting, shared by `recording`, which writes deltas, and `metrics`, which reads them."""
