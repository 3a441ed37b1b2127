"""The mathematics: pure functions of arrays or tensors."""
