// Figures of `bench` as text, JSON and cells of a table.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "bench_history.hpp"
#include "bench_measure.hpp"

namespace ravenwing::apps {

std::string to_text(const BenchFlags& flags, const BenchResults& results);
std::string to_json(const BenchFlags& flags, const BenchResults& results);
HistoryRow to_row(const BenchFlags& flags, const BenchResults& results);

/// {"median": ..., "min": ..., "max": ...}; null for none.
nlohmann::ordered_json json_of(const Readings& readings);
/// One line, for standard output.
std::string json_line(const nlohmann::ordered_json& json);
/// "0.512", "51.2", "512.3", "5123": about four digits.
std::string short_number(double value);
double megabytes(uint64_t bytes);

}  // namespace ravenwing::apps
