// The demo model tells the beginning of a story.
#include <iostream>

#include "ravenwing/engine.hpp"

int main() {
  ravenwing::Engine engine({.model = ravenwing::demo_model_path()});
  ravenwing::Session session = engine.new_session();
  ravenwing::GenerateOptions options{.max_tokens = 32, .sampler = {.temperature = 0.8f, .seed = 7}};
  options.on_text = [](std::string_view text) { return bool(std::cout << text << std::flush); };
  session.generate(engine.tokenizer().encode("Once upon a time"), options);
  std::cout << '\n';
}
