"""The web page, apart from the program that serves it."""
