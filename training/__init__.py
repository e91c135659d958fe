"""Learning: the scripts that train the models which the package brings."""
