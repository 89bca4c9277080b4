// How the commands that measure kernels print rates and limits.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "ravenwing/engine.hpp"

namespace ravenwing::apps {

/// None, and a warning, where the GPU computes wrong numbers, has no room or a clock that gives no sense.
std::optional<MeasuredLimits> limits_of(Engine& engine);

/// A line; "" for none.
std::string limits_text(const std::optional<MeasuredLimits>& limits);
nlohmann::ordered_json limits_json(const std::optional<MeasuredLimits>& limits);

/// An amount a second, in a unit; "-" where there is nothing to tell.
std::string rate(uint64_t amount, double us, double unit);

}  // namespace ravenwing::apps
