"""Training data that is drawn: objects of every kind of edge, in colours and backgrounds, as a camera sees them."""
