"""A locale that few machines have installed, made where a test wants it."""
import os
import subprocess

NAME = "ravenwing_TR"  # "turkish" would be an alias of another one
_SOURCE = """comment_char %
escape_char /
LC_NUMERIC
decimal_point "<U002C>"
thousands_sep "<U002E>"
grouping 3;3
END LC_NUMERIC
LC_CTYPE
toupper (<U0069>,<U0130>);(<U0131>,<U0049>)
tolower (<U0049>,<U0131>);(<U0130>,<U0069>)
END LC_CTYPE
"""


def make_turkish_locale(folder):
    """The environment that chooses it: Latin-5, a decimal comma, and an i whose capital is no I. Needs localedef, which
    comes with glibc, and none of the system's descriptions of locales, which are a package of their own."""
    charmap = ["<code_set_name> ISO-8859-9", "<comment_char> %", "<escape_char> /", "<mb_cur_min> 1", "<mb_cur_max> 1", "CHARMAP"]
    charmap += [f"<U{ord(bytes([byte]).decode('iso8859-9')):04X}> /x{byte:02x}" for byte in range(256)] + ["END CHARMAP", ""]
    for name, text in (("latin5", "\n".join(charmap)), ("source", _SOURCE)):
        with open(os.path.join(folder, name), "w", encoding="ascii") as file:
            file.write(text)
    # Exit status 1: categories without a definition are taken from "C".
    done = subprocess.run(["localedef", "-c", "--quiet", "-f", "./latin5", "-i", "./source", "./" + NAME], cwd=folder,
                          capture_output=True, text=True)
    if done.returncode > 1:
        raise RuntimeError(done.stderr)
    environment = {"LOCPATH": os.path.abspath(folder), "LC_ALL": NAME}
    comma = subprocess.check_output(["printf", "%.2f", "1,5"], text=True, env={**os.environ, **environment})
    if comma != "1,50":
        raise RuntimeError(f"the locale is not what it is meant to be: {comma}")
    return environment
