// The files that travel with the program and the library: the demo model, the unpacked software driver.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace ravenwing {

/// The folder that holds the running program, symbolic links resolved. Throws Error{bad_file} where /proc is missing.
std::filesystem::path executable_dir();

/// The folder of the shared library that this code is part of, or executable_dir() where it is part of the program.
std::filesystem::path library_dir();

/// The first existing of $RAVENWING_HOME/`relative`, <library_dir>/../share/ravenwing/`relative` and the same in
/// <library_dir>, where a Python package has it.
/// Known names: `models/demo/tiny-rwkv7-Q4_K_M.gguf`, `mesa/lvp_icd.json`, `mesa/lib/libdrm.so.2`.
std::optional<std::filesystem::path> find_resource(std::string_view relative);

/// The folder of files that may be made anew at any time: $RAVENWING_CACHE_DIR, else ravenwing in $XDG_CACHE_HOME, else
/// in $HOME/.cache. Nothing where none of them is known, or where RAVENWING_CACHE_DIR is empty.
std::optional<std::filesystem::path> cache_folder();

/// Tells builds of the program or library that holds `symbol` apart, by its file's length and time of change; "unknown"
/// where there is no such file.
std::string binary_id(const void* symbol);

}  // namespace ravenwing
