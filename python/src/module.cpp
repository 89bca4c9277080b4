// The extension ravenwing._ravenwing: the C++ library as ravenwing/*.py need it.
#include <cstring>

#include "bind.hpp"
#include "core.hpp"
#include "run.hpp"
#include "state.hpp"

namespace ravenwing::python {

namespace nb = nanobind;

namespace {

const char* name_of(const Error& error) {
  if (dynamic_cast<const Unusable*>(&error) != nullptr) return "closed";
  switch (error.code()) {
    case ErrorCode::bad_file:
      return "bad_file";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::bad_request:
      return "bad_request";
    case ErrorCode::no_device:
      return "no_device";
    case ErrorCode::out_of_memory:
      return "out_of_memory";
    case ErrorCode::device_lost:
      return "device_lost";
    case ErrorCode::cancelled:
      return "cancelled";
  }
  return "unknown";
}

/// The classes are Python's, in ravenwing/_errors.py.
void translate(const std::exception_ptr& thrown, void*) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& error) {
    // Messages quote files, which may hold anything.
    const nb::object text =
        nb::steal(PyUnicode_DecodeUTF8(error.what(), Py_ssize_t(std::strlen(error.what())), "replace"));
    const nb::object made = nb::module_::import_("ravenwing._errors").attr("of_code")(name_of(error), text);
    PyErr_SetObject(made.type().ptr(), made.ptr());
  }
}

}  // namespace

void show_warnings(Core& core) {
  for (const std::string& text : core.take_warnings()) {
    if (PyErr_WarnEx(PyExc_RuntimeWarning, text.c_str(), 2) != 0) throw nb::python_error();
  }
}

NB_MODULE(_ravenwing, module) {
  // Objects that the end of the interpreter does not destroy are no leak of ours.
  nb::set_leak_warnings(false);
  nb::register_exception_translator(translate);
  module.def("close_all", [] {
    const nb::gil_scoped_release release;
    close_all();
  });
  bind_facts(module);
  bind_state(module);
  bind_generate(module);
  bind_engine(module);
}

}  // namespace ravenwing::python
