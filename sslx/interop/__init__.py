"""Weights in and out: PyTorch's encoders become ours, ours theirs, by one table an architecture read in both ways.

A file `resnet.py`, `vit.py`, ... holds the table of an architecture (`rows`), how it is recognised in a file
(`recognised`) and where it may go (`laid_out`, `refused`, `call`); `sources.py` says where in whose files the encoder
lies.
"""

from sslx.interop.incoming import grouped as grouped, import_weights as import_weights, parsed as parsed
from sslx.interop.outgoing import TARGETS as TARGETS, export_weights as export_weights, recipe as recipe
from sslx.interop.sources import SOURCES as SOURCES
