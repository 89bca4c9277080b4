// Python's string and bytes literals, in which vocabularies are written.
#pragma once

#include <string>
#include <string_view>

namespace ravenwing {

/// The bytes of a literal: 'text' or "text" in UTF-8, or b'bytes'. Throws Error{bad_file} that names what is wrong.
std::string parse_python_literal(std::string_view literal);

/// The bytes of what stands between the quotes of a bytes literal; bytes past 127 stand for themselves.
std::string unescape_python_bytes(std::string_view body);

}  // namespace ravenwing
