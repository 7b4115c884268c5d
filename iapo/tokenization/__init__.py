"""Between tokens and texts: completions decoded, the piece of text of each token, a text encoded behind another."""

from iapo.tokenization.continuation import continuation_ids
from iapo.tokenization.decoding import decode_completions, token_pieces

__all__ = ["continuation_ids", "decode_completions", "token_pieces"]
