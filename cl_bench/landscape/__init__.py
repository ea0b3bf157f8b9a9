"""Measurements on a trained stack: how the weights fluctuate and how flat the loss is around them."""
