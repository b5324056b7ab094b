"""What JSON looks like, coming in and going out."""
