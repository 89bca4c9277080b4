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

  /// Adds text; appends what is certain now to `certain`. After stopped() that is nothing.
  void push(std::string_view text, std::string& certain);
  /// What was held back, at the end of the text.
  std::string finish();
  /// Whether a stop string was found. The text before the first one has been returned.
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace ravenwing
