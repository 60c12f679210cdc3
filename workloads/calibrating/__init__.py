"""`calibrate`: measures a live engine from outside, over HTTP, and puts down what a replay needs to know of it."""
