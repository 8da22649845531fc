"""Training with torch: settings, the autoencoder, its losses, and the loop."""
