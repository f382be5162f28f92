"""Whether what arrives, and how well it is predicted, is still what the classifier learned."""
