"""Problems that are solved: variational ones and optimal control."""
