// The large reference data that does not travel with the source: weights and golden outputs of the trained tiny model.
#pragma once

#include <filesystem>
#include <optional>

namespace ravenwing::test {

/// The folder that holds `models/` and `golden/`: what the environment variable RAVENWING_SHARED names, else `shared`
/// beside the source tree. Nothing where there is none; then says so once, or throws if RAVENWING_REQUIRE_SHARED is 1.
std::optional<std::filesystem::path> shared_data();

}  // namespace ravenwing::test
