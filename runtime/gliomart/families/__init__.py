"""How a kind of model looks at images."""
