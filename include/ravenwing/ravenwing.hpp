// All of the library.
#pragma once

#include "ravenwing/chat.hpp"
#include "ravenwing/device_info.hpp"
#include "ravenwing/embedding.hpp"
#include "ravenwing/engine.hpp"
#include "ravenwing/error.hpp"
#include "ravenwing/generation.hpp"
#include "ravenwing/kernel_bench.hpp"
#include "ravenwing/model_info.hpp"
#include "ravenwing/profile.hpp"
#include "ravenwing/sampler_params.hpp"
#include "ravenwing/session.hpp"
#include "ravenwing/state.hpp"
#include "ravenwing/state_storage.hpp"
#include "ravenwing/synthetic.hpp"
#include "ravenwing/tokenizer.hpp"
#include "ravenwing/tune.hpp"
