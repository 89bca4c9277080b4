// Finding stop strings in text that comes in pieces.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ravenwing {

/// Lets text through as soon as it can be no part of a stop string.
class StopMatcher {
 public:
  /// Empty stop strings are ignored.
  explicit StopMatcher(std::vector<std::string> stops);

  /// Adds text; returns what is certain now. After stopped() it returns nothing.
  std::string push(std::string_view text);
  /// What was held back, at the end of the text.
  std::string finish();
  /// Whether all text that came in was returned: no stop string can have begun.
  bool clean() const { return held_.empty(); }
  /// Whether a stop string was found. The text before the first one has been returned.
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace ravenwing
