"""Heads: what sits on an encoder while it learns and is thrown away after."""

from sslx.heads.attentive import Attentive as Attentive
from sslx.heads.captioner import Captioner as Captioner
from sslx.heads.critic import Critic as Critic
from sslx.heads.decoder import Decoder as Decoder
from sslx.heads.projector import MLP as MLP
from sslx.heads.prototypes import Chain as Chain, Prototypes as Prototypes
from sslx.heads.token_decoder import TokenDecoder as TokenDecoder
from sslx.heads.upscaler import Upscaler as Upscaler, pixel_shuffle as pixel_shuffle
