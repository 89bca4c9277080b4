// python/src/generate.cpp: options of a generation, what comes of it, and the job that runs it.
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bind.hpp"
#include "job.hpp"
#include "run.hpp"
#include "state.hpp"

namespace ravenwing::python {

namespace nb = nanobind;
using namespace nb::literals;

namespace {

/// A model may write any bytes.
nb::str to_text(std::string_view text) {
  return nb::steal<nb::str>(PyUnicode_DecodeUTF8(text.data(), Py_ssize_t(text.size()), "replace"));
}

void bind_sampler(nb::module_& module) {
  nb::enum_<SamplerOrder>(module, "SamplerOrder").value("rwkv", SamplerOrder::rwkv).value("llama", SamplerOrder::llama);
  nb::class_<SamplerParams>(module, "SamplerParams", "How the next token is chosen: docs/sampling.md.")
      .def(nb::init<>())
      .def("validate", &SamplerParams::validate)
      .def_rw("temperature", &SamplerParams::temperature)
      .def_rw("top_k", &SamplerParams::top_k)
      .def_rw("top_p", &SamplerParams::top_p)
      .def_rw("seed", &SamplerParams::seed)
      .def_rw("order", &SamplerParams::order)
      .def_rw("min_p", &SamplerParams::min_p)
      .def_rw("typical_p", &SamplerParams::typical_p)
      .def_rw("presence_penalty", &SamplerParams::presence_penalty)
      .def_rw("frequency_penalty", &SamplerParams::frequency_penalty)
      .def_rw("repetition_penalty", &SamplerParams::repetition_penalty)
      .def_rw("penalty_decay", &SamplerParams::penalty_decay)
      .def_rw("logit_bias", &SamplerParams::logit_bias)
      .def_rw("xtc_probability", &SamplerParams::xtc_probability)
      .def_rw("xtc_threshold", &SamplerParams::xtc_threshold)
      .def_rw("mirostat_tau", &SamplerParams::mirostat_tau)
      .def_rw("mirostat_eta", &SamplerParams::mirostat_eta)
      .def_rw("dry_multiplier", &SamplerParams::dry_multiplier)
      .def_rw("dry_base", &SamplerParams::dry_base)
      .def_rw("dry_allowed_length", &SamplerParams::dry_allowed_length)
      .def_rw("dry_range", &SamplerParams::dry_range)
      .def_rw("dry_sequence_breakers", &SamplerParams::dry_sequence_breakers);
  nb::class_<GenerateOptions>(module, "GenerateOptions")
      .def(nb::init<>())
      .def("copy", [](const GenerateOptions& options) { return options; })
      .def_rw("max_tokens", &GenerateOptions::max_tokens)
      .def_rw("stop_tokens", &GenerateOptions::stop_tokens)
      .def_rw("stop", &GenerateOptions::stop)
      .def_rw("logprobs", &GenerateOptions::logprobs, nb::arg().none())
      .def_rw("sampler", &GenerateOptions::sampler);
}

void bind_completion(nb::module_& module) {
  nb::class_<TokenLogprob>(module, "TokenLogprob", "ln p(id), before bias, penalties and filters.")
      .def_ro("id", &TokenLogprob::id)
      .def_ro("logprob", &TokenLogprob::logprob);
  nb::class_<TokenLogprobs>(module, "TokenLogprobs")
      .def_ro("token", &TokenLogprobs::token, "the one generated")
      .def_ro("top", &TokenLogprobs::top, "the most probable ones, descending");
  nb::class_<Timings>(module, "Timings")
      .def_ro("prefill_tokens", &Timings::prefill_tokens)
      .def_ro("decode_tokens", &Timings::decode_tokens)
      .def_ro("prefill_ms", &Timings::prefill_ms)
      .def_ro("decode_ms", &Timings::decode_ms);
  nb::class_<Completion>(module, "Completion", "What a generation gave.")
      .def_prop_ro(
          "text", [](const Completion& completion) { return to_text(completion.text); },
          "bytes that are no UTF-8 are U+FFFD")
      .def_prop_ro(
          "bytes",
          [](const Completion& completion) { return nb::bytes(completion.text.data(), completion.text.size()); })
      .def_ro("ids", &Completion::ids, "without the stop token")
      .def_ro("logprobs", &Completion::logprobs, "one for each of ids, if asked for")
      .def_prop_ro(
          "finish_reason", [](const Completion& completion) { return std::string(name(completion.finish_reason)); },
          "'stop', 'length' or 'cancelled'")
      .def_ro("timings", &Completion::timings)
      .def("__str__", [](const Completion& completion) { return to_text(completion.text); })
      .def("__repr__", [](const Completion& completion) {
        return nb::str("<ravenwing.Completion {!r}, {} tokens, {}>")
            .format(to_text(completion.text), completion.ids.size(), std::string(name(completion.finish_reason)));
      });
}

}  // namespace

void bind_generate(nb::module_& module) {
  bind_sampler(module);
  bind_completion(module);
  nb::class_<Job>(module, "Job", "A generation that runs in a thread of its own.")
      .def(
          "next",
          [](Job& job) -> nb::object {
            const std::optional<std::string> piece = job.next();
            return piece ? nb::object(to_text(*piece)) : nb::none();
          },
          nb::sig("def next(self) -> str | None"), "The next piece of text; None at the end.")
      .def("result", &Job::result, "Waits for the end.")
      .def("cancel", &Job::cancel);
}

}  // namespace ravenwing::python
