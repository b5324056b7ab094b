"""What can be asked, by whom, and in what order we answer."""
