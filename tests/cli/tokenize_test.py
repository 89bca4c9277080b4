#!/usr/bin/env python3
"""ravenwing tokenize: the World vocabulary against what other implementations give, any bytes there and back."""
import base64
import json
import os
import random
import unittest

from program import DEMO_MODEL, GOLDEN, ROOT, ProgramTest


def golden_cases(name):
    with open(os.path.join(GOLDEN, name), encoding="utf-8") as file:
        return [(base64.b64decode(case["base64"]), case["ids"]) for case in json.load(file)]


def is_utf8(text):
    try:
        text.decode()
        return True
    except UnicodeDecodeError:
        return False


def ids_text(ids):
    return " ".join(map(str, ids)).encode() + b"\n"


class TokenizeTest(ProgramTest):
    def test_world_against_golden(self):
        cases = golden_cases("tokenizer_world.json")
        broken = [case for case in cases if not is_utf8(case[0])]
        self.assertTrue(broken)
        for text, ids in cases[:6] + broken[:4] + [max(cases, key=lambda case: len(case[0]))]:
            self.assertEqual(self.run_program("tokenize", "-", stdin=text)[0], ids_text(ids))
            self.assertEqual(self.run_json("tokenize", "-", stdin=text), {"ids": ids, "bytes": len(text)})

    def test_vocabulary_of_a_model(self):
        for text, ids in golden_cases("tokenizer_tiny.json")[:4]:
            self.assertEqual(self.run_json("tokenize", "-m", DEMO_MODEL, "-", stdin=text)["ids"], ids)

    def test_vocabulary_file(self):
        vocabulary = os.path.join(ROOT, "tests/data/tiny_vocab.txt")
        for text, ids in golden_cases("tokenizer_tiny.json")[:4]:
            self.assertEqual(self.run_json("tokenize", "--vocab", vocabulary, "-", stdin=text)["ids"], ids)
        self.expect_error("tokenize", "--vocab", vocabulary, "-m", DEMO_MODEL, "a", status=2, words=["--vocab"])

    def test_round_trip_of_any_bytes(self):
        generator = random.Random(1)
        for text in (bytes(range(256)), generator.randbytes(5000), "naïve 😀 नमस्ते\r\n\0".encode(), b""):
            ids, _ = self.run_program("tokenize", "-", stdin=text)
            self.assertEqual(self.run_program("tokenize", "--decode", "-", stdin=ids)[0], text)

    def test_text_as_argument(self):
        # Characters that a parser of flags might take for its own.
        for text in ("{}", "[a,b]", "", "a b", "--", "-p", "a=b", "%%", "\"", "'a'"):
            stdout, _ = self.run_program("tokenize", "--", text)
            self.assertEqual(self.run_program("tokenize", "--decode", stdout.decode())[0], text.encode(), text)

    def test_decode_takes_commas_and_blanks(self):
        self.assertEqual(self.run_program("tokenize", "--decode", " 98,99\t100\n, 101 ")[0], b"abcd")
        self.assertEqual(self.run_json("tokenize", "--decode", "98 256"), {"ids": [98, 256], "bytes": 2, "text": "a\ufffd"})
        for ids, words in (("1x", "'1x'"), ("-1", "'-1'"), ("99999999999", "'99999999999'"), ("65535", "65535")):
            self.expect_error("tokenize", "--decode", "--", ids, status=2, words=[words])

    def test_first_token(self):
        self.assertEqual(self.run_program("tokenize", "a")[0], b"98\n")
        self.assertEqual(self.run_program("tokenize", "--bos", "a")[0], b"0 98\n")
        self.assertEqual(self.run_json("tokenize", "--bos", "a"), {"ids": [0, 98], "bytes": 1})

    def test_locales_change_nothing(self):
        expected = self.run_program("tokenize", "--json", "I 1,5 İ")[0]
        for locale in ("C", "de_DE.UTF-8", "tr_TR.UTF-8"):
            self.assertEqual(self.run_program("tokenize", "--json", "I 1,5 İ", env={"LC_ALL": locale})[0], expected)


if __name__ == "__main__":
    unittest.main()
