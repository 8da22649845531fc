"""Jobs: what is to be done, how far it is, and the steps that do it."""
