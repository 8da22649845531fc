"""Blue-green copies, for engines that cannot add a vector to a collection that exists."""
