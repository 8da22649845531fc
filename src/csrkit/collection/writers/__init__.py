"""New points, written with their codes."""
