// The one exception type of the library.
#pragma once

#include <stdexcept>
#include <string>

#pragma GCC visibility push(default)  // what the shared library shows
namespace ravenwing {

enum class ErrorCode {
  bad_file,       // a model, vocabulary or text file is damaged, missing or not what it says
  unsupported,    // well-formed, but nothing this build can run
  bad_request,    // an argument of the caller is out of range
  no_device,      // no adapter, or not the one that was asked for
  out_of_memory,  // GPU or host memory does not suffice
  device_lost,    // the GPU went away and could not be brought back; the engine has to be made anew
  cancelled,      // the caller asked to stop
};

/// What every function of the library throws. The text names the place, what was found and what is allowed.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace ravenwing
#pragma GCC visibility pop
