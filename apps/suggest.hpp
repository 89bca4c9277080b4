// "Did you mean ...?"
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ravenwing::apps {

/// The candidate that fewest insertions, deletions and replacements make of `word`; "" if none is close.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace ravenwing::apps
