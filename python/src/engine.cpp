// python/src/engine.cpp: an engine and its sessions, for any number of threads.
#include <nanobind/ndarray.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "bind.hpp"
#include "job.hpp"
#include "run.hpp"
#include "state.hpp"

namespace ravenwing::python {

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Ids = std::vector<uint32_t>;
using Box = std::shared_ptr<SessionBox>;

/// An opened model. What it says of itself stays readable when it is closed.
struct SharedEngine {
  std::shared_ptr<Core> core;
  ModelInfo info;
  DeviceInfo device;
  std::optional<Tokenizer> tokenizer;
};

/// A NumPy array that owns its values.
template <typename T>
nb::ndarray<nb::numpy, T> to_array(std::vector<T> values, std::vector<size_t> shape) {
  auto* kept = new std::vector<T>(std::move(values));
  const nb::capsule owner(kept, [](void* pointer) noexcept { delete static_cast<std::vector<T>*>(pointer); });
  return nb::ndarray<nb::numpy, T>(kept->data(), shape.size(), shape.data(), owner);
}

template <typename T>
T option(const nb::dict& options, const char* name) {
  return nb::cast<T>(options[name]);
}

LoadMode load_mode_of(const std::string& text) {
  for (const LoadMode mode : {LoadMode::stream, LoadMode::full, LoadMode::lazy})
    if (name(mode) == text) return mode;
  throw Error(ErrorCode::bad_request, "load is '" + text + "', must be stream, full or lazy");
}

StateStorage storage_of(const std::string& text) {
  for (const StateStorage storage : {StateStorage::f32, StateStorage::f16})
    if (name(storage) == text) return storage;
  throw Error(ErrorCode::bad_request, "states is '" + text + "', must be f32 or f16");
}

/// `options` has all of them: ravenwing/_model.py has their defaults.
EngineOptions engine_options(const nb::dict& options) {
  return {.model = option<std::filesystem::path>(options, "path"),
          .vocab = option<std::filesystem::path>(options, "vocab"),
          .device = option<std::string>(options, "device"),
          .tier = option<std::string>(options, "tier"),
          .safe = option<bool>(options, "safe"),
          .persistent = option<bool>(options, "persistent"),
          .exact = option<bool>(options, "exact"),
          .state_storage = storage_of(option<std::string>(options, "states")),
          .chunk = option<std::optional<uint32_t>>(options, "chunk"),
          .max_sessions = option<uint32_t>(options, "max_sessions"),
          .load = load_mode_of(option<std::string>(options, "load")),
          .pipeline_cache = option<bool>(options, "pipeline_cache"),
          .profiling = option<bool>(options, "profiling"),
          .tuning = option<bool>(options, "tuning") ? TuningMode::automatic : TuningMode::off};
}

SharedEngine open(const nb::dict& options) {
  const std::shared_ptr<Core> core = Core::make(engine_options(options));
  return run(*core, Takes::any_time, [&](Engine& engine) {
    return SharedEngine{core, engine.model(), engine.device(), engine.tokenizer()};
  });
}

/// A session of its own for `make(Engine&) -> Session`.
template <typename Make>
Box new_box(const std::shared_ptr<Core>& core, Make&& make) {
  auto box = std::make_shared<SessionBox>(core);
  run(*core, Takes::a_step, [&](Engine& engine) { core->adopt(*box, make(engine)); });
  return box;
}

/// work(Session&) on a session.
template <typename Work>
auto run_on(const Box& box, Takes takes, Work&& work) {
  Core& core = *box->core;
  return run(core, takes, [&](Engine&) { return work(core.session_of(*box)); });
}

/// A session copies what may change, or shares what does not.
void restore(const Box& box, const State& state) {
  const auto seen = state.seen();
  const auto snapshot = seen ? nullptr : state.snapshot();
  run_on(box, Takes::a_step, [&](Session& session) { seen ? session.restore(*seen) : session.restore(snapshot); });
}

nb::ndarray<nb::numpy, float> logits(const Box& box, const Ids& ids, bool each) {
  std::vector<float> rows;
  if (each) {
    run_on(box, takes(ids.size()), [&](Session& session) {
      session.logits_of_each(
          ids, [&](size_t, std::span<const float> row) { rows.insert(rows.end(), row.begin(), row.end()); });
    });
    const size_t n_vocab = ids.empty() ? 0 : rows.size() / ids.size();
    return to_array(std::move(rows), {ids.size(), n_vocab});
  }
  rows = run_on(box, takes(ids.size()), [&](Session& session) { return session.logits(ids); });
  const size_t n = rows.size();
  return to_array(std::move(rows), {n});
}

std::shared_ptr<Job> start(const SharedEngine& engine, std::vector<Ids> texts, std::vector<GenerateOptions> options,
                           const State* prefix, bool streaming) {
  JobInput input{.prefix = prefix == nullptr ? nullptr : prefix->snapshot(),
                 .texts = std::move(texts),
                 .options = std::move(options)};
  if (input.texts.size() != input.options.size())
    throw Error(ErrorCode::bad_request, "every text needs options of its own");
  return std::make_shared<Job>(engine.core, std::move(input), streaming);
}

Pooling pooling_of(const std::string& text) {
  for (const Pooling pooling : {Pooling::last, Pooling::mean, Pooling::state})
    if (name(pooling) == text) return pooling;
  throw Error(ErrorCode::bad_request, "pooling is '" + text + "', must be last, mean or state");
}

struct Embedding {
  std::string pooling, closing;
  int32_t layer;
  bool normalize;
};

nb::ndarray<nb::numpy, float> embed(const SharedEngine& engine, const std::vector<Ids>& texts, const Embedding& how,
                                    const State* prefix) {
  const EmbeddingOptions options{.pooling = pooling_of(how.pooling),
                                 .layer = how.layer,
                                 .closing = how.closing,
                                 .normalize = how.normalize,
                                 .on_progress = {}};
  const auto snapshot = prefix == nullptr ? nullptr : prefix->snapshot();
  size_t n_tokens = 0;
  for (const Ids& ids : texts) n_tokens += ids.size();
  std::vector<float> vectors = run(*engine.core, takes(n_tokens), [&](Engine& open) {
    if (snapshot == nullptr) return open.embed(texts, options);
    Session before = open.new_session();
    before.restore(snapshot);
    return open.embed(texts, options, &before);
  });
  const size_t n_values = size_t(engine.info.n_embd) * (options.pooling == Pooling::state ? engine.info.head_size : 1);
  return to_array(std::move(vectors), {texts.size(), n_values});
}

nb::dict profile(const SharedEngine& engine, uint32_t n_sequences, uint32_t n_tokens) {
  const StepProfile profile =
      run(*engine.core, Takes::any_time, [&](Engine& open) { return open.profile(n_sequences, n_tokens); });
  nb::list dispatches;
  for (const ProfiledDispatch& dispatch : profile.dispatches) {
    nb::dict row;
    row["label"] = dispatch.label;
    row["us"] = dispatch.us;
    row["bytes"] = dispatch.bytes;
    row["flops"] = dispatch.flops;
    dispatches.append(row);
  }
  nb::dict result;
  result["step_us"] = profile.step_us;
  result["encode_us"] = profile.encode_us;
  result["gpu_us"] = profile.gpu_us;
  result["dispatches"] = dispatches;
  return result;
}

nb::dict memory(const SharedEngine& engine) {
  const MemoryUse use = run(*engine.core, Takes::a_moment, [](Engine& open) { return open.memory(); });
  nb::dict result;
  result["weights"] = use.weights;
  result["state"] = use.state;
  result["scratch"] = use.scratch;
  result["peak"] = use.peak;
  return result;
}

void bind_session(nb::module_& module) {
  nb::class_<SessionBox>(module, "Session", "One text and its state on the GPU.")
      .def(
          "feed",
          [](const Box& box, const Ids& ids) {
            run_on(box, takes(ids.size()), [&](Session& session) { session.feed(ids); });
          },
          "ids"_a)
      .def("logits", &logits, "ids"_a, "each"_a)
      .def(
          "score",
          [](const Box& box, const Ids& ids) {
            std::vector<double> nats =
                run_on(box, takes(ids.size()), [&](Session& session) { return session.score(ids); });
            for (double& value : nats) value = -value;
            const size_t n = nats.size();
            return to_array(std::move(nats), {n});
          },
          "ids"_a, "ln p(ids[i + 1] | all before)")
      .def(
          "generate",
          [](const Box& box, Ids ids, GenerateOptions options, bool streaming) {
            JobInput input{.session = box, .texts = {std::move(ids)}, .options = {std::move(options)}};
            return std::make_shared<Job>(box->core, std::move(input), streaming);
          },
          "ids"_a, "options"_a, "streaming"_a)
      .def("fork",
           [](const Box& box) {
             return new_box(box->core, [&](Engine&) { return box->core->session_of(*box).fork(); });
           })
      .def("state",
           [](const Box& box) {
             Core& core = *box->core;
             return run(core, Takes::a_step, [&](Engine& engine) {
               return State(core.session_of(*box).snapshot(spare_snapshot()), engine.model());
             });
           })
      .def("restore", &restore, "state"_a)
      .def(
          "save",
          [](const Box& box, const std::filesystem::path& path) {
            run_on(box, Takes::any_time, [&](Session& session) { session.save(path); });
          },
          "path"_a)
      .def(
          "load",
          [](const Box& box, const std::filesystem::path& path) {
            run_on(box, Takes::any_time, [&](Session& session) { session.load(path); });
          },
          "path"_a)
      .def("n_tokens",
           [](const Box& box) {
             return run_on(box, Takes::a_moment, [](Session& session) { return session.n_tokens(); });
           })
      .def("reset", [](const Box& box) { run_on(box, Takes::a_moment, [](Session& session) { session.reset(); }); })
      .def("wait", [](const Box& box) { run_on(box, Takes::a_step, [](Session& session) { session.wait(); }); })
      .def("close", [](const Box& box) { box->core->retire(*box); });
}

}  // namespace

void bind_engine(nb::module_& module) {
  bind_session(module);
  nb::class_<SharedEngine>(module, "Engine", "A model on a GPU.")
      .def_static("open", &open, "options"_a)
      .def_ro("info", &SharedEngine::info)
      .def_ro("device", &SharedEngine::device)
      .def_prop_ro("tokenizer", [](const SharedEngine& engine) { return *engine.tokenizer; })
      .def("close",
           [](const SharedEngine& engine) {
             const nb::gil_scoped_release release;
             engine.core->close();
           })
      .def_prop_ro("closed", [](const SharedEngine& engine) { return engine.core->closed(); })
      .def("session",
           [](const SharedEngine& engine) {
             return new_box(engine.core, [](Engine& open) { return open.new_session(); });
           })
      .def("generate", &start, "texts"_a, "options"_a, "prefix"_a.none(), "streaming"_a)
      .def(
          "embed",
          [](const SharedEngine& engine, const std::vector<Ids>& texts, const std::string& pooling, int32_t layer,
             bool normalize, const std::string& closing, const State* prefix) {
            return embed(engine, texts, {pooling, closing, layer, normalize}, prefix);
          },
          "texts"_a, "pooling"_a, "layer"_a, "normalize"_a, "closing"_a, "prefix"_a.none(),
          "A vector for each text: [n_texts, D]")
      .def("profile", &profile, "n_sequences"_a, "n_tokens"_a)
      .def("memory", &memory);
}

}  // namespace ravenwing::python
