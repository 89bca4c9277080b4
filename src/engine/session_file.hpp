// Sessions as files: safetensors with the state as tensors and the rest as metadata.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "format/model_file.hpp"
#include "model/rwkv7_config.hpp"
#include "ravenwing/session.hpp"

namespace ravenwing {

/// Tells a model's weights from others': a hash over each tensor's name, type and shape and the ends of its data.
std::string model_hash(const format::ModelFile& file);

/// time_shift [n_layer, n_embd], wkv [n_layer, n_head, head_size, head_size], channel_shift [n_layer, n_embd],
/// mirostat_mu [1], and where there are any penalty_counts [n_vocab] and history [tokens], ids; all F32.
/// Written whole or not at all. Throws Error{bad_file}.
void write_session_file(const std::filesystem::path& path, const SessionSnapshot& snapshot, const rwkv7::Config& config,
                        const std::string& hash_of_model);

/// The same bytes in memory.
std::vector<std::byte> session_bytes(const SessionSnapshot& snapshot, const rwkv7::Config& config,
                                     const std::string& hash_of_model);

/// Throw Error{bad_file} for what is none of these, is damaged, or was made for another model.
SessionSnapshot read_session_file(const std::filesystem::path& path, const rwkv7::Config& config,
                                  const std::string& hash_of_model);
SessionSnapshot read_session_bytes(std::span<const std::byte> bytes, const rwkv7::Config& config,
                                   const std::string& hash_of_model);

}  // namespace ravenwing
