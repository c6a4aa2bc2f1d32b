"""Objects of a user's own, reached by dotted name: a very small encoder, so that runs in tests compile in a second."""
