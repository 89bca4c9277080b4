// Writing a file so that it is there whole or not at all.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace ravenwing {

/// Whether a new file is on the disk before it takes its place: else a crash of the system may leave it half there.
enum class Flush { yes, no };

/// Writes the parts one after another into a new file beside `path`, flushes it to the disk and renames it to `path`.
/// If anything fails, what was at `path` stays as it was. Throws Error{bad_file} with the system's message.
void write_file_atomically(const std::filesystem::path& path, std::span<const std::span<const std::byte>> parts,
                           Flush flush = Flush::yes);

}  // namespace ravenwing
