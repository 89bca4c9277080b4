// src/tokenizer/chat.cpp: chat templates. Source of the forms: RWKV-LM, RWKV-v7/RWKV7-G1x-templates.txt.
#include "ravenwing/chat.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

namespace ravenwing {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";
constexpr std::string_view kThoughtBegin = "<think", kThoughtEnd = "</think>";

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

}  // namespace

ChatTemplate chat_template_of(std::string_view name) {
  if (name == "world") return ChatTemplate::world;
  if (name == "g1") return ChatTemplate::g1;
  fail(ErrorCode::bad_request, "template is {}, must be one of world, g1", quoted(name));
}

Think think_of(std::string_view name) {
  constexpr std::pair<std::string_view, Think> kNames[] = {{"off", Think::off},       {"fake", Think::fake},
                                                           {"on", Think::on},         {"brief", Think::brief},
                                                           {"normal", Think::normal}, {"deep", Think::deep}};
  for (const auto& [known, think] : kNames) {
    if (name == known) return think;
  }
  fail(ErrorCode::bad_request, "think is {}, must be one of off, fake, on, brief, normal, deep", quoted(name));
}

std::string clean_turn(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    if (text[i] == '\n' && result.ends_with('\n')) continue;
    result += text[i];
  }
  return std::string(trimmed(result));
}

std::string system_turn(std::string_view text) {
  const std::string clean = clean_turn(text);
  return clean.empty() ? "" : "System: " + clean + "\n\n";
}

std::string user_turn(ChatTemplate form, Think think, std::string_view text) {
  std::string_view wish;
  if (form == ChatTemplate::world) {
    if (think != Think::off && think != Think::fake) wish = " think";
  } else if (think == Think::brief) {
    wish = " (think a bit)";
  } else if (think == Think::normal) {
    wish = " (think)";
  } else if (think == Think::deep) {
    wish = " (think a lot)";
  }
  return fmt::format("User: {}{}\n\nAssistant:", clean_turn(text), wish);
}

std::string answer_lead(ChatTemplate form, Think think) {
  if (think == Think::off) return "";
  if (think == Think::fake) return form == ChatTemplate::g1 ? " <think>\n</think" : "";
  return " <think";
}

std::string without_thought(std::string_view answer) {
  const std::string_view text = trimmed(answer);
  if (!text.starts_with(kThoughtBegin)) return std::string(text);
  const size_t end = text.find(kThoughtEnd);
  return end == text.npos ? "" : std::string(trimmed(text.substr(end + kThoughtEnd.size())));
}

std::vector<std::string> chat_stops() { return {"\n\nUser:", "\nUser:"}; }

}  // namespace ravenwing
