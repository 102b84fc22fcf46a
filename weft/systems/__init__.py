"""The published systems. A file reads like the method section of its paper; what several share stands elsewhere."""
