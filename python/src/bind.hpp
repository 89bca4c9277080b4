// What the files of the extension bind; module.cpp puts it together.
#pragma once

#include <nanobind/nanobind.h>

namespace ravenwing::python {

void bind_facts(nanobind::module_& module);     // model, device, tokenizer, chat turns
void bind_generate(nanobind::module_& module);  // options, completions, jobs
void bind_engine(nanobind::module_& module);    // engine and sessions

}  // namespace ravenwing::python
