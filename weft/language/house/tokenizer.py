"""The tokenizer of the house language model: byte-level BPE, learnt from what the model is to read."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

PAD, START, END, USER, ASSISTANT = SPECIAL = ("<|pad|>", "<|start|>", "<|end|>", "<|user|>", "<|assistant|>")
ANSWERS = ("Yes", "No")
"""Words that are one token each, whatever the text: systems read their probabilities."""
_OFTEN = 100_000  # so often they are counted, that they become tokens first

_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}" + USER + "{{ message['content'] }}"
    "{% elif message['role'] == 'assistant' %}"
    + ASSISTANT
    + "{{ message['content'] }}"
    + END
    + "{% else %}{{ raise_exception('this model knows no role ' + message['role']) }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}" + ASSISTANT + "{% endif %}"
)


def learn_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Learns at most ``vocabulary`` tokens; frequent words, names among them, become one token each.

    Every text is read as if a space stood before it, so that a word is the same token at the start of a sentence, after
    a special token and inside a sentence; decoding takes that space away again.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", left=1, right=0)])
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(chain(texts, [f"{' '.join(ANSWERS)} ({')('.join(ANSWERS)})"] * _OFTEN), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A", special_tokens=[(START, tokenizer.token_to_id(START))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD, bos_token=START, eos_token=END,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=_TEMPLATE,
        padding_side="left",
    )  # fmt: skip
