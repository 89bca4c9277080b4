// python/src/facts.cpp: what a model and a device are, the tokenizer, and the turns of a chat.
#include <nanobind/ndarray.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "bind.hpp"
#include "ravenwing/chat.hpp"
#include "ravenwing/device_info.hpp"
#include "ravenwing/model_info.hpp"
#include "ravenwing/synthetic.hpp"
#include "ravenwing/tokenizer.hpp"

namespace ravenwing::python {

namespace nb = nanobind;
using namespace nb::literals;

namespace {

std::string_view bytes_of(const nb::bytes& bytes) { return {bytes.c_str(), bytes.size()}; }
nb::bytes to_bytes(std::string_view text) { return nb::bytes(text.data(), text.size()); }

void bind_infos(nb::module_& module) {
  nb::class_<ModelInfo>(module, "ModelInfo", "What a model file holds.")
      .def_ro("path", &ModelInfo::path)
      .def_ro("container", &ModelInfo::container)
      .def_ro("architecture", &ModelInfo::architecture)
      .def_ro("name", &ModelInfo::name)
      .def_ro("file_bytes", &ModelInfo::file_bytes)
      .def_ro("n_parameters", &ModelInfo::n_parameters)
      .def_ro("n_layer", &ModelInfo::n_layer)
      .def_ro("n_embd", &ModelInfo::n_embd)
      .def_ro("n_head", &ModelInfo::n_head)
      .def_ro("head_size", &ModelInfo::head_size)
      .def_ro("n_ffn", &ModelInfo::n_ffn)
      .def_ro("n_vocab", &ModelInfo::n_vocab)
      .def_ro("state_bytes", &ModelInfo::state_bytes)
      .def_ro("bytes_by_type", &ModelInfo::bytes_by_type)
      .def_ro("metadata", &ModelInfo::metadata)
      .def_ro("warnings", &ModelInfo::warnings)
      .def_prop_ro(
          "quantisation",
          [](const ModelInfo& info) {
            std::pair<std::string, uint64_t> most;
            for (const auto& [type, bytes] : info.bytes_by_type)
              if (bytes > most.second) most = {type, bytes};
            return most.first;
          },
          "The type that most bytes of the weights have.")
      .def("__repr__", [](const ModelInfo& info) {
        return "<ravenwing.ModelInfo " + info.path.filename().string() + ": " + std::to_string(info.n_layer) +
               " layers of " + std::to_string(info.n_embd) + ", " + std::to_string(info.n_parameters) + " parameters>";
      });
  nb::class_<DeviceInfo>(module, "DeviceInfo", "An adapter, or the device in use.")
      .def_ro("name", &DeviceInfo::name)
      .def_ro("driver", &DeviceInfo::driver)
      .def_ro("vendor", &DeviceInfo::vendor)
      .def_ro("backend", &DeviceInfo::backend)
      .def_ro("type", &DeviceInfo::type)
      .def_ro("software", &DeviceInfo::software)
      .def_ro("tier", &DeviceInfo::tier)
      .def_ro("fallback", &DeviceInfo::fallback)
      .def_ro("features", &DeviceInfo::features)
      .def("__repr__", [](const DeviceInfo& info) {
        return "<ravenwing.DeviceInfo " + info.name + ", " + info.backend + ", " + info.tier + ">";
      });
}

void bind_tokenizer(nb::module_& module) {
  const auto encode = [](const Tokenizer& tokenizer, const nb::bytes& text) {
    const std::string_view view = bytes_of(text);
    const nb::gil_scoped_release release;
    return tokenizer.encode(view);
  };
  nb::class_<Tokenizer>(module, "Tokenizer", "Bytes to token ids and back; for any number of threads.")
      .def_static("world", &Tokenizer::world)
      .def_static("from_file", &Tokenizer::from_file, "path"_a)
      .def("encode", encode, "text"_a)
      .def(
          "decode",
          [](const Tokenizer& tokenizer, const std::vector<uint32_t>& ids) { return to_bytes(tokenizer.decode(ids)); },
          "ids"_a)
      .def_prop_ro("size", &Tokenizer::size);
}

void bind_chat(nb::module_& module) {
  module.def(
      "system_turn", [](const std::string& text) { return system_turn(text); }, "text"_a);
  module.def(
      "user_turn",
      [](const std::string& form, const std::string& think, const std::string& text) {
        return user_turn(chat_template_of(form), think_of(think), text);
      },
      "template"_a, "think"_a, "text"_a);
  module.def(
      "answer_lead",
      [](const std::string& form, const std::string& think) {
        return answer_lead(chat_template_of(form), think_of(think));
      },
      "template"_a, "think"_a);
  module.def(
      "without_thought", [](const std::string& answer) { return without_thought(answer); }, "answer"_a);
  module.def(
      "clean_turn", [](const std::string& text) { return clean_turn(text); }, "text"_a);
  module.def("chat_stops", &chat_stops);
}

}  // namespace

void bind_facts(nb::module_& module) {
  bind_infos(module);
  bind_tokenizer(module);
  bind_chat(module);
  module.def("list_devices", [] {
    const nb::gil_scoped_release release;
    return list_devices();
  });
  module.def("inspect", &inspect, "path"_a);
  module.def("demo_model_path", &demo_model_path);
  module.def(
      "write_synthetic_model",
      [](const std::string& spec, const std::filesystem::path& path) {
        const nb::gil_scoped_release release;
        write_synthetic_model(spec, path);
      },
      "spec"_a, "path"_a, "Writes a model of random weights, for measuring: SHAPE:QUANT, 2.9b:q4_k_m for one.");
}

}  // namespace ravenwing::python
