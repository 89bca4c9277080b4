// The markdown file in which `bench --title` keeps its figures: a section for each title, in it a table.
#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <string_view>

namespace ravenwing::apps {

enum HistoryColumn {
  kChange,
  kModel,
  kCommit,
  kDevice,
  kDriver,
  kSettings,
  kLoad,
  kPrompt,
  kPrefill,
  kDecode,
  kSequences,
  kBatchDecode,
  kFirstToken,
  kTokenLatency,
  kGpuBusy,
  kEnergy,
  kGpuMemory,
  kHostMemory,
  kQuality,
  kDelta,
  kColumnCount
};
/// A row of the table; kDelta is filled in when it is added. Of figures a cell begins with the number that counts.
using HistoryRow = std::array<std::string, kColumnCount>;

/// The text of the file with one more row, all else as it was: in the section of that title, else in a new one at the
/// end. The row's delta is to the section's first row of the same model and device. Throws Error{bad_file} where the
/// section has no such table; `name` is what the message calls the file.
std::string with_row(std::string_view text, std::string_view title, HistoryRow row, const std::string& name);

/// Throws what append_to_history would, as far as can be known before there is a row; for a title that is none
/// Error{bad_request}.
void check_history(const std::filesystem::path& path, std::string_view title);

/// Adds a row to the file, which need not be there yet: whole or not at all, and none is lost where two processes add
/// theirs at once. Throws Error{bad_file}.
void append_to_history(const std::filesystem::path& path, std::string_view title, const HistoryRow& row);

}  // namespace ravenwing::apps
