"""A conversation with a model, its answers as they come. An empty line ends it.

    python chat.py MODEL       # made for conversation, such as RWKV-7 G1; without MODEL the demo model, which is not
"""

import sys

import ravenwing


def main() -> None:
    messages: list[dict[str, str]] = []
    with ravenwing.Model(sys.argv[1] if len(sys.argv) > 1 else None) as model:
        while text := ask("you: "):
            messages.append({"role": "user", "content": text})
            print("model:", end="", flush=True)
            with model.chat(messages, max_tokens=200, temperature=0.8, stream=True) as stream:
                try:
                    for piece in stream:
                        print(piece, end="", flush=True)
                except KeyboardInterrupt:  # ends the answer, not the conversation
                    stream.close()
                print()
                messages.append({"role": "assistant", "content": stream.completion.text})


def ask(prompt: str) -> str:
    try:
        return input(prompt).strip()
    except EOFError:
        return ""


if __name__ == "__main__":
    main()
