// src/engine/stop.cpp
#include "engine/stop.hpp"

#include <algorithm>
#include <utility>

namespace ravenwing {

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
}

void StopMatcher::push(std::string_view text, std::string& certain) {
  if (stopped_) return;
  held_ += text;
  size_t end = std::string::npos;
  for (const std::string& stop : stops_) end = std::min(end, held_.find(stop));
  if (end != std::string::npos) {
    stopped_ = true;
    certain.append(held_, 0, end);
    held_.clear();
    return;
  }
  // Keep the longest tail that a stop string begins with.
  size_t n_keep = 0;
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > n_keep; --n) {
      if (held_.ends_with(std::string_view(stop).substr(0, n))) n_keep = n;
    }
  }
  certain.append(held_, 0, held_.size() - n_keep);
  held_.erase(0, held_.size() - n_keep);
}

std::string StopMatcher::finish() { return std::exchange(held_, {}); }

}  // namespace ravenwing
