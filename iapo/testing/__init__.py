"""What tests of components are made of."""
