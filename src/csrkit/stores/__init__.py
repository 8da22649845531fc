"""Where codes live: the protocol, the exact reference, and Qdrant's two forms."""
