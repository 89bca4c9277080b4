// How the commands that measure kernels print rates and limits.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "ravenwing/profile.hpp"

namespace ravenwing::apps {

/// A line.
std::string limits_text(const MeasuredLimits& limits);
nlohmann::ordered_json limits_json(const MeasuredLimits& limits);

/// An amount a second, in a unit; "-" where there is nothing to tell.
std::string rate(uint64_t amount, double us, double unit);

}  // namespace ravenwing::apps
