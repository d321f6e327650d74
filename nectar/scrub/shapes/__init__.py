"""Data of every shape: cells decide, columns, trees, frames and documents bring their values to them."""
