// A session of a model that does not exist, and the smallest there could be.
#pragma once

#include "engine/session_file.hpp"

namespace ravenwing::fuzz {

inline constexpr rwkv7::Config kSessionConfig = {
    .n_layer = 2, .n_embd = 4, .n_head = 2, .head_size = 2, .n_ffn = 4, .n_vocab = 5};
inline const std::string kSessionModelHash = "0123456789abcdef";

/// With all that a session may have, or with what each has.
SessionSnapshot session_snapshot(bool with_everything);

}  // namespace ravenwing::fuzz
