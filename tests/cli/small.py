"""A small network and its training, for the tests of commands."""

SMALL = """\
name: small
input: {channels: 1, size: [8, 8]}
layers:
  - conv: {filters: 4, kernel: 3, padding: same}
  - relu
  - max_pool: 2
  - flatten
  - dense: 10
train: {epochs: 2, batch_size: 50, optimizer: {adam: 0.01}}
"""
