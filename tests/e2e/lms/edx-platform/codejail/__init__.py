"""What Tutor's settings import from codejail."""
