"""What a user does, against a whole Pandar started as they start it."""
