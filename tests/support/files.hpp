// Files of the tests: whole reads and writes, a folder that goes away, and where the golden data lies.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ravenwing::test {

/// A new folder under the system's temporary one, removed with all its files at the end of its scope.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

std::vector<std::byte> read_file(const std::filesystem::path& path);
void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes);
void write_file(const std::filesystem::path& path, std::string_view text);

/// The folder that RAVENWING_GOLDEN names, else tests/data/golden of the source tree; of the working directory where
/// the program was built elsewhere.
std::filesystem::path golden_folder();

}  // namespace ravenwing::test
