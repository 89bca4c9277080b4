// A program of somebody else that links the installed library: what passes between the two besides tokens. Prints "ok".
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "ravenwing/engine.hpp"

namespace {

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "consumer: %s\n", what);
  std::exit(1);
}

struct Enough {};

std::string message_of(void (*call)()) {
  try {
    call();
  } catch (const ravenwing::Error& error) {
    // The counts of exceptions are one for both sides.
    require(std::uncaught_exceptions() == 0, "an exception is counted as in flight after it was caught");
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace

int main() {
  require(std::setlocale(LC_ALL, "") != nullptr, "no such locale");
  require(std::localeconv()->decimal_point[0] == ',', "the locale has no decimal comma");

  const std::string missing = message_of([] { ravenwing::inspect("/nowhere/a.gguf"); });
  require(missing.find("/nowhere/a.gguf") != missing.npos, missing.c_str());
  const std::string range = message_of([] { ravenwing::SamplerParams{.top_p = 1.5f}.validate(); });
  require(range.find("top_p is 1.5,") != range.npos, range.c_str());

  std::exception_ptr kept;
  try {
    ravenwing::Tokenizer::from_text("no vocabulary");
  } catch (...) {
    kept = std::current_exception();
  }
  try {
    std::rethrow_exception(kept);
  } catch (const ravenwing::Error& error) {
    require(error.code() == ravenwing::ErrorCode::bad_file, "a kept exception has another code");
  }

  ravenwing::Engine engine({.model = ravenwing::demo_model_path()});
  ravenwing::Session session = engine.new_session();
  ravenwing::GenerateOptions options{.max_tokens = 8};
  options.on_text = [](std::string_view) -> bool { throw Enough{}; };
  bool thrown = false;
  try {
    session.generate(engine.tokenizer().encode("Once upon a time"), options);
  } catch (const Enough&) {
    thrown = true;
  }
  require(thrown, "an exception of a callback does not come through");
  std::puts("ok");
}
