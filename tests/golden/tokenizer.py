"""Tokeniser part of generate.py: a small vocabulary and what BertTokenizerFast makes of some texts."""

import tempfile

from transformers import BertTokenizerFast

WORDS = """the a an of to and in is was it film movie good bad great not very boring who what where when which wrote play
city river capital paris london france born year author king queen water cafe naive resume el nino uber strasse
un ##s ##ed ##ing ##er ##ly ##est ##able ##ness ##ion anti ##dis establish ##ment ##arian ##ism 19 ##9 20 ##18 ##1
中 国 北 京 東 ! ? . , ; : ' " - ( ) $ % & / ’ “ ” — … € ¿""".split()

TEXTS = [
    "",
    " \t\n ",
    "The film was not very good.",
    "Boring!!! A very, very BAD movie...",
    "Café naïve résumé: El Niño, Über",
    "Cafe\u0301 nai\u0308ve",
    "北京 is the capital of 中国; 東京?",
    "zero\u200bwidth and soft\u00adhyphen and nul\u0000char and tab\tnew\nline",
    "unestablishments antidisestablishmentarianism",
    "emoji \U0001f600 and \U0001d54f math, ﬁligature ½ İstanbul STRASSE straße",
    "¿Qué? “quoted” — it’s 100€ (19.99$ & 20%)/year…",
    "한국어 각 हिन्दी العربية ไทย",
    "x" * 101 + " city",
    "[CLS] in the text [SEP] and [MASK] [UNK]",
    "non\u00a0breaking\u3000space\u2028line",
]

PAIRS = [
    ("Who wrote the play?", "The author of the play was born in the city of Paris in the year 1991."),
    ("The capital of France is a very great city, and it is not London.", "Paris."),
    ("The queen of London was born in Paris", "The king of France was born in London in the year 2018"),
    ("", "The river"),
    ("Where is it?", ""),
]

QUESTIONS = [
    (
        "Where was the author born?",
        "The café — the author’s — is in 北京. The author was born in Strasse, not in Paris; the river is unestablished,"
        " and the queen of France wrote it in 1991. It was a very good year: the king of London was not boring.",
    ),
    ("What year?", "In 2018, the great film."),
    ("Which city is the capital of France?", "  Paris\n\n is   the capital of France.  London is not. " * 3),
]


def record(encoding):
    return {"ids": encoding["input_ids"], "token_types": encoding["token_type_ids"]}


def expected():
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + [str(digit) for digit in range(10)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + letters + [f"##{letter}" for letter in letters]
    vocabulary += [word for word in WORDS if word not in vocabulary]
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write("".join(f"{token}\n" for token in vocabulary))
        file.flush()
        tokenizer = BertTokenizerFast(vocab=file.name, do_lower_case=True)
    assert len(tokenizer) == len(vocabulary) and tokenizer.convert_tokens_to_ids("##ness") == vocabulary.index("##ness")

    singles = []
    for text in TEXTS:
        for max_length in [64, 8, 2]:
            encoding = tokenizer(text, truncation=True, max_length=max_length, return_offsets_mapping=True)
            offsets = encoding["offset_mapping"]
            singles.append({"text": text, "max_length": max_length, "offsets": offsets, **record(encoding)})

    pairs = []
    for first, second in PAIRS:
        for max_length in [64, 20, 13, 12, 5]:
            for strategy in ["longest_first", "only_second"]:
                room = max_length - 3 - len(tokenizer(first, add_special_tokens=False)["input_ids"])
                if strategy == "only_second" and room < 1:
                    continue  # transformers refuses
                # As a batch of one: a lone empty second text would be taken for none.
                encoding = tokenizer([first], [second], truncation=strategy, max_length=max_length)
                row = {key: values[0] for key, values in record(encoding).items()}
                pairs.append({"text": first, "text_pair": second, "max_length": max_length, "truncation": strategy, **row})

    questions = []
    for question, context in QUESTIONS:
        for max_length, stride in [(128, 16), (24, 6), (24, 0), (16, 3)]:
            encoding = tokenizer(
                question, context, truncation="only_second", max_length=max_length, stride=stride,
                return_overflowing_tokens=True, return_offsets_mapping=True,
            )
            windows = []
            for row in range(len(encoding["input_ids"])):
                inside = encoding.sequence_ids(row)
                offsets = encoding["offset_mapping"][row]
                windows.append({
                    "ids": encoding["input_ids"][row],
                    "token_types": encoding["token_type_ids"][row],
                    "offsets": [list(offset) if part == 1 else None for part, offset in zip(inside, offsets)],
                })
            questions.append({"question": question, "context": context, "max_length": max_length, "stride": stride,
                              "windows": windows})
    return vocabulary, {"singles": singles, "pairs": pairs, "questions": questions}
