"""What a representation is for: a pretrained encoder on a task with labels, beside the same network from scratch.

  transfer.transfer(config.load("configs/transfer/classify.py:digits"), "runs/digits", source="runs/simclr")

A task is a Method (classify.py), named in a config by its dotted name, so `train.train` trains it: runs resume,
log and save as pretraining does.
"""

from sslx.transfer.run import onto as onto, rows as rows, transfer as transfer
