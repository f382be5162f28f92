"""Which four thinking budgets suit a model, from what its requests needed."""
