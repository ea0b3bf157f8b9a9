"""Measurements on a trained stack: how weights fluctuate, how flat the loss is around them."""
