"""cnncli trains convolutional networks on the CPU, from a YAML file."""

__version__ = "0.1.0"
