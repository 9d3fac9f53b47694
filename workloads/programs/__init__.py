"""What the real programs are given to do: their inputs, made from a seed."""
